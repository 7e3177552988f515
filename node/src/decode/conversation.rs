//! An HTTP connection of our own, decoded while it goes on.

use std::net::SocketAddr;

use super::connection::{Around, Connection};
use super::tcp::{Budget, Piece};
use super::{Event, KeyLog, MAX_HELD, Nanoseconds, number};

/// What the client and the server of one connection say, in the order in which it is said.
#[derive(Debug)]
pub struct Conversation {
    connection: Connection,
    budget: Budget,
    messages: u64,
}

impl Conversation {
    /// A connection on which nothing was said.
    #[must_use]
    pub fn new(client: SocketAddr, server: SocketAddr) -> Self {
        Self { connection: Connection::impatient([client, server]), budget: Budget::new(MAX_HELD), messages: 0 }
    }

    /// The client says this.
    pub fn client(&mut self, bytes: &[u8], now: Nanoseconds, out: &mut impl FnMut(Event<'_>)) {
        self.piece(0, &Piece::Data(bytes), now, out);
    }

    /// The server says this.
    pub fn server(&mut self, bytes: &[u8], now: Nanoseconds, out: &mut impl FnMut(Event<'_>)) {
        self.piece(1, &Piece::Data(bytes), now, out);
    }

    /// The server says no more.
    pub fn end(&mut self, now: Nanoseconds, out: &mut impl FnMut(Event<'_>)) {
        self.piece(1, &Piece::End, now, out);
    }

    fn piece(&mut self, side: usize, piece: &Piece<'_>, now: Nanoseconds, out: &mut impl FnMut(Event<'_>)) {
        let Self { connection, budget, messages } = self;
        let mut around = Around { now, budget, tls_keys: &KeyLog::default() };
        connection.piece(side, piece, &mut around, &mut |found| number(found, "", messages, out));
        connection.unpaired().into_iter().for_each(|asked| out(Event::Unpaired(asked)));
    }
}
