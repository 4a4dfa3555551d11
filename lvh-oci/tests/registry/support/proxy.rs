use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of one answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It is this instead; the registry is not asked.
    Answer(&'static str),
    /// The connection is cut after so many bytes of the body.
    Cut(usize),
    /// The body ends after so many bytes, and the header says that it has no more.
    Short(usize),
    /// The byte there is another.
    Alter(usize),
    /// The body has so many bytes more, and the header says so.
    Longer(usize),
    /// Nothing comes after so many bytes of the body, until the client hangs up.
    Stall(usize),
    /// Every 64 KiB of the body take this long.
    Slow(Duration),
    /// The registry does not hear of the `Range` that is asked for.
    WithoutRange,
    /// Nothing, but the request is noted, and so it is without a rule.
    None,
}

struct Rule {
    /// Words that the request's head must have.
    request: &'static str,
    /// How often it still applies.
    times: usize,
    fault: Fault,
}

/// Passes requests on to a registry, one a connection, and breaks the answers that its rules are about.
pub(crate) struct Proxy {
    port: u16,
    rules: Arc<Mutex<Vec<Rule>>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts one in front of `registry`; it lives as long as the test's process.
    pub(crate) fn start(registry: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (rules, log) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let proxy = Self { port, rules: rules.clone(), log: log.clone() };
        let registry = registry.to_owned();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (registry, rules, log) = (registry.clone(), rules.clone(), log.clone());
                // A broken connection is what it is for.
                thread::spawn(move || drop(serve(client, &registry, &rules, &log)));
            }
        });
        proxy
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address())
    }

    /// The next `times` requests that have these words are answered so.
    pub(crate) fn on(&self, request: &'static str, times: usize, fault: Fault) -> &Self {
        self.rules.lock().unwrap().push(Rule { request, times, fault });
        self
    }

    /// The heads of the requests that had these words.
    pub(crate) fn requests(&self, words: &str) -> Vec<String> {
        self.log.lock().unwrap().iter().filter(|head| head.contains(words)).cloned().collect()
    }
}

fn serve(mut client: TcpStream, registry: &str, rules: &Mutex<Vec<Rule>>, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let (head, rest) = read_head(&mut client)?;
    log.lock().unwrap().push(head.clone());
    let fault = choose(&head, rules);
    if let Fault::Answer(answer) = fault {
        // It says that it ends: a client that keeps the connection would send its next request into nothing.
        let answer = answer.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        client.write_all(answer.as_bytes())?;
        return client.shutdown(Shutdown::Both);
    }
    let mut upstream = TcpStream::connect(registry)?;
    upstream.write_all(forwarded(&head, matches!(fault, Fault::WithoutRange)).as_bytes())?;
    upstream.write_all(&rest)?;
    let (mut from, mut to) = (client.try_clone()?, upstream.try_clone()?);
    thread::spawn(move || io::copy(&mut from, &mut to));
    answer(&mut upstream, &mut client, &fault)?;
    client.shutdown(Shutdown::Both)
}

fn choose(head: &str, rules: &Mutex<Vec<Rule>>) -> Fault {
    let mut rules = rules.lock().unwrap();
    let rule = rules.iter_mut().find(|rule| rule.times > 0 && head.contains(rule.request));
    rule.map_or(Fault::None, |rule| {
        rule.times -= 1;
        rule.fault.clone()
    })
}

/// The request, to be answered on a connection of its own.
fn forwarded(head: &str, without_range: bool) -> String {
    let lines = head.trim_end().split("\r\n");
    let lines = lines.filter(|line| !line.to_lowercase().starts_with("connection:"));
    let lines: Vec<_> = lines.filter(|line| !(without_range && line.to_lowercase().starts_with("range:"))).collect();
    format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"))
}

fn answer(upstream: &mut TcpStream, client: &mut TcpStream, fault: &Fault) -> io::Result<()> {
    let (head, mut body) = read_head(upstream)?;
    upstream.read_to_end(&mut body)?;
    let (mut body, length) = match fault {
        Fault::Short(length) => (body[..*length].to_vec(), *length),
        Fault::Longer(more) => {
            let length = body.len() + more;
            body.resize(length, 0);
            (body, length)
        }
        _ => {
            let length = body.len();
            (body, length)
        }
    };
    if let Fault::Alter(at) = fault {
        body[*at] ^= 1;
    }
    client.write_all(with_length(&head, length).as_bytes())?;
    match fault {
        Fault::Cut(at) => client.write_all(&body[..*at]),
        Fault::Stall(at) => {
            client.write_all(&body[..*at])?;
            io::copy(client, &mut io::sink()).map(drop)
        }
        Fault::Slow(pause) => body.chunks(64 << 10).try_for_each(|chunk| {
            thread::sleep(*pause);
            client.write_all(chunk)
        }),
        _ => client.write_all(&body),
    }
}

/// The head with another length, unless it has none.
fn with_length(head: &str, length: usize) -> String {
    let lines = head.trim_end().split("\r\n").map(|line| match line.to_lowercase().starts_with("content-length:") {
        // The answer to HEAD has a length and no body.
        true if length > 0 => format!("Content-Length: {length}"),
        _ => line.to_owned(),
    });
    format!("{}\r\n\r\n", lines.collect::<Vec<_>>().join("\r\n"))
}

/// Reads up to the empty line; gives what came after it, too.
fn read_head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}
