//! A control listener that answers what the test wants, one request for each connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// An answer: status line, header fields, body.
pub(crate) struct Answer {
    pub(crate) status: &'static str,
    pub(crate) headers: &'static str,
    pub(crate) body: String,
}

/// A running fake. It ends when the last expected request was answered.
pub(crate) struct Fake {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

impl Fake {
    /// Answers requests in this order.
    pub(crate) fn answering(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let thread = std::thread::spawn(move || {
            for answer in answers {
                // A connection that asks nothing only looked whether somebody is there.
                let (stream, request) = std::iter::repeat_with(|| listener.accept().unwrap().0)
                    .map(|stream| (read(&stream), stream))
                    .find_map(|(request, stream)| (!request.is_empty()).then_some((stream, request)))
                    .unwrap();
                seen.lock().unwrap().push(request);
                reply(stream, &answer);
            }
        });
        Self {
            url,
            requests,
            thread,
        }
    }

    /// What was asked: method and target, the header fields in lower case, the body.
    pub(crate) fn asked(self) -> Vec<String> {
        self.thread.join().unwrap();
        self.requests.lock().unwrap().clone()
    }
}

/// JSON with status 200.
pub(crate) fn json(body: serde_json::Value) -> Answer {
    Answer {
        status: "200 OK",
        headers: "content-type: application/json\r\n",
        body: body.to_string(),
    }
}

/// A problem with this status.
pub(crate) fn problem(status: &'static str, code: &str, detail: &str) -> Answer {
    let number: u16 = status[..3].parse().unwrap();
    let body = serde_json::json!({
        "type": format!("urn:skep:error:{code}"), "title": "t", "status": number, "code": code, "detail": detail,
    });
    Answer {
        status,
        headers: "content-type: application/problem+json\r\n",
        body: body.to_string(),
    }
}

fn read(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        request.push_str(line.trim_end());
        request.push('\n');
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    request + &String::from_utf8(body).unwrap()
}

fn reply(mut stream: TcpStream, answer: &Answer) {
    let Answer {
        status,
        headers,
        body,
    } = answer;
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).unwrap();
}
