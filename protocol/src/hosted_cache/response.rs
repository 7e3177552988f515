//! What a hosted cache answers ([MS-PCHC] 2.2.2).

use thiserror::Error;

use crate::wire::{Put, Reader, TrailingBytes, Truncated};

/// A RESPONSE_MESSAGE behind its TRANSPORT_HEADER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// 0: nothing more is needed.
    Ok,
    /// 1, to an INITIAL_OFFER: the hosted cache wants the SEGMENT_INFO.
    Interested,
}

/// Why bytes are no response. It is the server's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ResponseError {
    /// Size is not the number of bytes that follow it.
    #[error("the transport header announces {announced} bytes, {size} came")]
    WrongSize {
        /// The field's value.
        announced: u32,
        /// Bytes that came behind it.
        size: usize,
    },
    /// ResponseCode is neither OK nor INTERESTED.
    #[error("unknown response code {0:#04x}")]
    UnknownCode(u8),
    /// The response is cut off.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// Something follows the response.
    #[error(transparent)]
    TrailingBytes(#[from] TrailingBytes),
}

impl Response {
    /// The body of the HTTP answer.
    #[must_use]
    pub fn emit(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(5);
        bytes.put_u32_be(1);
        bytes.put_u8(match self {
            Self::Ok => 0,
            Self::Interested => 1,
        });
        bytes
    }

    /// Reads the body of an HTTP answer.
    pub fn parse(bytes: &[u8]) -> Result<Self, ResponseError> {
        let mut reader = Reader::new(bytes);
        let announced = reader.u32_be()?;
        let size = reader.left();
        if usize::try_from(announced) != Ok(size) {
            return Err(ResponseError::WrongSize { announced, size });
        }
        let code = reader.u8()?;
        reader.finish()?;
        match code {
            0 => Ok(Self::Ok),
            1 => Ok(Self::Interested),
            code => Err(ResponseError::UnknownCode(code)),
        }
    }
}
