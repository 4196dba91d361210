//! `skep invoke`: a function's answer on standard output, whatever its routes are.

use bytes::Bytes;
use futures::TryStreamExt;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::cli;
use crate::client::{self, Answer, Body, Client};
use crate::exit::{Exit, Failed, Outcome};
use crate::printer::Printer;

const INVOCATION: &str = "skep-invocation";

pub(crate) async fn run(printer: &Printer, options: cli::Invoke) -> Outcome {
    let client = Client::new(&options.control)?;
    let request = request(&options).await?;
    let answer = client.send(request).await?;
    let status = answer.response.status();
    if options.include {
        show_head(printer, &answer);
    }
    if options.asynchronous && status == StatusCode::ACCEPTED {
        return accepted(printer, answer).await;
    }
    if is_problem(answer.response.headers()) {
        return Err(problem(status, answer).await?);
    }
    let invocation = header(answer.response.headers(), INVOCATION);
    print_body(printer, answer).await?;
    if status.as_u16() < 400 {
        return Ok(Exit::Success);
    }
    let failed = Failed::new(
        Exit::Invocation,
        format!("{} answered {status}", options.function),
    );
    Err(match invocation {
        Some(id) => failed.hint(format!("its log: skep logs {id}")),
        None => failed,
    })
}

async fn request(options: &cli::Invoke) -> Result<Request<Body>, Failed> {
    let usage =
        |error: &dyn std::fmt::Display| Failed::new(Exit::Usage, format!("this can't be asked: {error}"));
    let path = options.path.strip_prefix('/').unwrap_or(&options.path);
    let default = if options.data.is_some() {
        Method::POST
    } else {
        Method::GET
    };
    let mut request = Request::builder()
        .method(options.method.clone().unwrap_or(default))
        .uri(format!(
            "/v1/functions/{}/invoke/{path}",
            super::encoded(&options.function)
        ))
        .body(body(options.data.as_deref()).await?)
        .map_err(|error| usage(&error))?;
    for (name, value) in &options.headers {
        request.headers_mut().append(name, value.clone());
    }
    if options.asynchronous {
        request
            .headers_mut()
            .insert("prefer", HeaderValue::from_static("respond-async"));
    }
    Ok(request)
}

async fn body(data: Option<&str>) -> Result<Body, Failed> {
    match data {
        None => Ok(client::nothing()),
        Some("-") => Ok(streamed(tokio::io::stdin())),
        Some(text) => match text.strip_prefix('@') {
            None => Ok(Full::new(Bytes::copy_from_slice(text.as_bytes()))
                .map_err(|never| match never {})
                .boxed_unsync()),
            Some(path) => match tokio::fs::File::open(path).await {
                Ok(file) => Ok(streamed(file)),
                Err(error) => Err(Failed::new(Exit::Usage, format!("{path} can't be read: {error}"))),
            },
        },
    }
}

fn streamed(reader: impl AsyncRead + Send + 'static) -> Body {
    StreamBody::new(ReaderStream::new(reader).map_ok(Frame::data)).boxed_unsync()
}

async fn print_body(printer: &Printer, mut answer: Answer) -> Result<(), Failed> {
    while let Some(piece) = answer.next().await {
        printer.bytes(&piece?)?;
    }
    Ok(())
}

async fn accepted(printer: &Printer, answer: Answer) -> Outcome {
    let headers = answer.response.headers();
    let id = header(headers, INVOCATION);
    let id =
        id.ok_or_else(|| Failed::new(Exit::Failure, "Skep accepted the invocation and did not name it"))?;
    printer.line(&id)?;
    printer.note(&format!("accepted; how it goes: skep inspect {id}"));
    if let Some(location) = header(headers, "location") {
        printer.note(&format!("its own address on the public listener: {location}"));
    }
    Ok(Exit::Success)
}

fn is_problem(headers: &HeaderMap) -> bool {
    header(headers, "content-type").is_some_and(|kind| kind.starts_with("application/problem+json"))
}

/// Skep's own error. A function that speaks problem+json itself is taken for it; it reads the same.
async fn problem(status: StatusCode, answer: Answer) -> Result<Failed, Failed> {
    let invocation = header(answer.response.headers(), INVOCATION);
    let body = answer.collect().await?;
    let mut failed = client::refused(status, &body);
    if let Some(id) = invocation {
        failed.exit = Exit::Invocation;
        failed = failed.hint(format!("what is known of it: skep inspect {id}"));
    } else if failed.exit == Exit::NotFound {
        failed = failed.hint("`skep ls` lists the functions, and what is wrong with those that can't run");
    }
    Ok(failed)
}

fn show_head(printer: &Printer, answer: &Answer) {
    printer.note(&format!(
        "{:?} {}",
        answer.response.version(),
        answer.response.status()
    ));
    for (name, value) in answer.response.headers() {
        printer.note(&format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
    }
    printer.note("");
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}
