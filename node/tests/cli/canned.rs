//! Hosts that answer what they were told to, whatever they are asked.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread::{self, JoinHandle};

/// A host that has heard what it waited for, or goes on waiting for it.
pub(crate) struct Canned {
    pub(crate) address: SocketAddr,
    heard: JoinHandle<Vec<Vec<u8>>>,
}

impl Canned {
    /// Takes a connection for each answer, reads a request of HTTP, and sends the answer.
    pub(crate) fn http(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard = thread::spawn(move || {
            let serve = |answer: Vec<u8>| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while !is_whole(&request) {
                    let size = stream.read(&mut buffer).unwrap();
                    assert_ne!(size, 0, "the request ends before it should");
                    request.extend(&buffer[..size]);
                }
                stream.write_all(&answer).unwrap();
                request
            };
            answers.into_iter().map(serve).collect()
        });
        Self { address, heard }
    }

    /// Answers one datagram with others.
    pub(crate) fn udp(answers: Vec<Vec<u8>>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let heard = thread::spawn(move || {
            let mut buffer = [0; 65_535];
            let (size, source) = socket.recv_from(&mut buffer).unwrap();
            for answer in answers {
                socket.send_to(&answer, source).unwrap();
            }
            vec![buffer[..size].to_vec()]
        });
        Self { address, heard }
    }

    /// What it heard.
    pub(crate) fn heard(self) -> Vec<Vec<u8>> {
        self.heard.join().unwrap()
    }
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&request[..end]).unwrap();
    let length = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Length: "));
    request.len() >= end + 4 + length.map_or(0, |length| length.parse().unwrap())
}
