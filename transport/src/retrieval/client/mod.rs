//! Asks peers for blocks ([MS-PCCRR] 3.1).
//!
//! One [`Exchange`] is one POST over a kept-alive connection. No proxy is asked and no redirect followed: a peer is an
//! address on the LAN.

mod connection;
mod counters;
mod error;
mod limits;
mod pool;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peerdist_protocol::retrieval::{Answer, Exchange, MessageType};
use peerdist_tap::{Tap, Verdict};
use tokio::time::timeout;

use self::connection::{Connection, Failure};
pub use self::counters::ClientCounters;
use self::counters::Counters;
pub use self::error::{Excess, ExchangeError, Wait};
pub use self::limits::ClientLimits;
use self::pool::Pool;

/// Asks any number of peers. Clones share connections and counters.
#[derive(Debug, Clone)]
pub struct Client {
    limits: Arc<ClientLimits>,
    pool: Arc<Pool>,
    counters: Arc<Counters>,
    tap: Tap,
}

impl Client {
    /// A client without connections.
    #[must_use]
    pub fn new(limits: ClientLimits) -> Self {
        Self::tapped(limits, Tap::default())
    }

    /// A client without connections, which tells `tap` what passes through them.
    #[must_use]
    pub fn tapped(limits: ClientLimits, tap: Tap) -> Self {
        let pool = Arc::new(Pool::new(&limits));
        Self { limits: Arc::new(limits), pool, counters: Arc::default(), tap }
    }

    /// Sends one request and checks its answer. A peer that answers with its versions is asked once more under one that
    /// both speak ([MS-PCCRR] 3.1.5.1). Dropping the future ends the exchange and its connection.
    pub async fn exchange(&self, peer: SocketAddr, exchange: &Exchange) -> Result<Answer, ExchangeError> {
        let (answer, verdict) = self.exchange_for_verdict(peer, exchange, self.limits.exchange_time).await?;
        verdict.say(|| "taken".to_owned());
        Ok(answer)
    }

    /// As [`Self::exchange`], for a message of which so much time is enough, the connection included.
    pub async fn exchange_within(
        &self,
        peer: SocketAddr,
        exchange: &Exchange,
        time: Duration,
    ) -> Result<Answer, ExchangeError> {
        let (answer, verdict) = self.exchange_for_verdict(peer, exchange, time).await?;
        verdict.say(|| "taken".to_owned());
        Ok(answer)
    }

    /// As [`Self::exchange_within`], for who will tell captures what the answer was worth.
    pub async fn exchange_for_verdict(
        &self,
        peer: SocketAddr,
        exchange: &Exchange,
        time: Duration,
    ) -> Result<(Answer, Verdict), ExchangeError> {
        self.counters.update(|counters| counters.exchanges += 1);
        let negotiated = timeout(time.min(self.limits.exchange_time), self.negotiate(peer, exchange)).await;
        let result = negotiated.unwrap_or(Err(ExchangeError::TimedOut(Wait::Exchange)));
        if let Err(error) = &result {
            self.counters.failed(error);
        }
        result
    }

    /// What an exchange may take.
    #[must_use]
    pub fn limits(&self) -> &ClientLimits {
        &self.limits
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> ClientCounters {
        self.counters.snapshot()
    }

    async fn negotiate(&self, peer: SocketAddr, exchange: &Exchange) -> Result<(Answer, Verdict), ExchangeError> {
        let theirs = match self.ask(peer, exchange).await? {
            (Answer::Negotiate(theirs), verdict) if exchange.message_type() != MessageType::NegoReq => {
                verdict.say(|| "another version is spoken there".to_owned());
                theirs
            }
            answered => return Ok(answered),
        };
        let again = exchange.renegotiated(self.limits.versions, theirs);
        match self.ask(peer, &again.ok_or(ExchangeError::Incompatible { theirs })?).await? {
            (Answer::Negotiate(theirs), _) => Err(ExchangeError::Incompatible { theirs }),
            answered => Ok(answered),
        }
    }

    async fn ask(&self, peer: SocketAddr, exchange: &Exchange) -> Result<(Answer, Verdict), ExchangeError> {
        let (body, verdict) = self.post(peer, exchange.body()).await?;
        self.counters.update(|counters| counters.bytes_received += body.len() as u64);
        match exchange.accept(&body) {
            Ok(answer) => Ok((answer, verdict)),
            Err(rejection) => {
                verdict.say(|| format!("refused: {rejection}"));
                Err(rejection.into())
            }
        }
    }

    async fn post(&self, peer: SocketAddr, message: Bytes) -> Result<(Bytes, Verdict), ExchangeError> {
        if let Some(connection) = self.pool.take(peer) {
            self.counters.update(|counters| counters.reused += 1);
            match self.post_over(connection, peer, message.clone()).await {
                // The peer closed the connection while it was idle, or as the request was on its way.
                Err(Failure::Unanswered(_)) => self.counters.update(|counters| counters.retried += 1),
                result => return result.map_err(Failure::into),
            }
        }
        let connection = Connection::open(peer, &self.limits, &self.tap).await?;
        self.counters.update(|counters| counters.connections += 1);
        self.post_over(connection, peer, message).await.map_err(Failure::into)
    }

    async fn post_over(
        &self,
        mut connection: Connection,
        peer: SocketAddr,
        message: Bytes,
    ) -> Result<(Bytes, Verdict), Failure> {
        let answered = connection.post(message, &self.limits).await?;
        if connection.is_reusable().await {
            self.pool.put(peer, connection);
        }
        Ok(answered)
    }
}
