//! A stream whose bytes its [`Line`] sees.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Direction, Line};

/// A stream whose bytes its [`Line`] sees. Dropping it ends the line.
#[derive(Debug)]
pub struct Tapped<T> {
    stream: T,
    line: Line,
}

impl<T> Tapped<T> {
    /// Shows what passes through `stream` to `line`.
    pub fn new(stream: T, line: Line) -> Self {
        Self { stream, line }
    }
}

impl<T> Drop for Tapped<T> {
    fn drop(&mut self) {
        self.line.ended();
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Tapped<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(fresh) = buf.filled().get(before..).filter(|fresh| !fresh.is_empty()) {
            self.line.passed(Direction::Received, std::iter::once(fresh));
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tapped<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        if let Some(sent) = buf.get(..written).filter(|sent| !sent.is_empty()) {
            self.line.passed(Direction::Sent, std::iter::once(sent));
        }
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        if written > 0 {
            let mut left = written;
            let sent = bufs.iter().map_while(|piece| {
                let sent = piece.get(..left).unwrap_or(piece);
                left -= sent.len();
                (!sent.is_empty() || left > 0).then_some(sent)
            });
            self.line.passed(Direction::Sent, sent);
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.line.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
