use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const LIMIT: Duration = Duration::from_secs(5);

/// Answers one request with `response` and closes the connection.
async fn server(response: &'static str) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(response.as_bytes()).await;
    });
    health_url(&format!("http://{at}")).unwrap()
}

fn http(host: &str, port: u16) -> HttpConfig {
    HttpConfig {
        host: host.parse().unwrap(),
        port,
        workers: 1,
        cors_origins: std::collections::BTreeSet::new(),
        request_timeout: Duration::ZERO,
        max_body_bytes: 1,
        keepalive: Duration::from_secs(75),
        shutdown_delay: Duration::ZERO,
        shutdown_grace: Duration::ZERO,
    }
}

#[test]
fn the_default_address_can_be_called() {
    for (host, port, expected) in [
        ("127.0.0.1", 8000, "http://127.0.0.1:8000"),
        ("0.0.0.0", 80, "http://127.0.0.1:80"),
        ("10.1.2.3", 8000, "http://10.1.2.3:8000"),
        ("fd00::5", 8000, "http://[fd00::5]:8000"),
    ] {
        assert_eq!(local_address(&http(host, port)), expected);
    }
}

#[test]
fn all_addresses_of_version_6() {
    let all = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    assert_eq!(reachable(all, || true), Ipv6Addr::LOCALHOST);
    assert_eq!(reachable(all, || false), Ipv4Addr::LOCALHOST);
    let one: IpAddr = "fd00::5".parse().unwrap();
    assert_eq!(reachable(one, || false), one);
}

#[test]
fn bases_and_health_addresses() {
    for (base, expected) in [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/health"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/health"),
        (
            "https://example.com/todo/",
            "https://example.com/todo/health",
        ),
        ("https://example.com/health", "https://example.com/health"),
        ("https://example.com/health/", "https://example.com/health"),
        (
            "https://example.com/health/ready",
            "https://example.com/health/ready",
        ),
        (
            "https://example.com/unhealth",
            "https://example.com/unhealth/health",
        ),
        ("http://[::1]:8000", "http://[::1]:8000/health"),
    ] {
        assert_eq!(health_url(base).unwrap().as_str(), expected);
    }
    for base in [
        "",
        "localhost:8000",
        "127.0.0.1",
        "ftp://example.com",
        "http://",
    ] {
        assert!(health_url(base).is_err(), "{base:?}");
    }
}

#[tokio::test]
async fn answers() {
    let url = server(
        "HTTP/1.1 200 OK\r\ncontent-length: 44\r\n\r\n{\"status\": \"healthy\", \"database\": \"conn\\u001b\"}",
    )
    .await;
    let answer = health(&url, LIMIT).await.unwrap();
    assert!(answer.is_healthy());

    let url = server(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n{\"database\": \"dis\\u001bconnected\"}",
    )
    .await;
    let answer = health(&url, LIMIT).await.unwrap();
    assert!(!answer.is_healthy());
    assert_eq!(answer.status, 503);
    assert_eq!(answer.database.as_deref(), Some("disconnected"));
}

#[tokio::test]
async fn a_status_is_read() {
    let url = server(
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"version\":\"1\\u001b.0\",\"pools\":[],\"mails\":null,\"last_reminder_run\":7}",
    )
    .await;
    let base = url.origin().ascii_serialization();
    let expected = DaemonStatus {
        version: "1.0".to_owned(),
        last_reminder_run: Some(7),
        ..DaemonStatus::default()
    };
    assert_eq!(status(&base, LIMIT).await.unwrap(), expected);

    for answer in [
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull",
    ] {
        let base = server(answer).await.origin().ascii_serialization();
        let error = status(&base, LIMIT).await.unwrap_err();
        assert!(
            error.to_string().starts_with("GET /status answers "),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let url = server("HTTP/1.1 302 Found\r\nlocation: /docs\r\ncontent-length: 0\r\n\r\n").await;
    let answer = health(&url, LIMIT).await.unwrap();
    assert_eq!(answer.status, 302);
    assert!(!answer.is_healthy());
}

#[tokio::test]
async fn silence_ends_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let url = health_url(&format!("http://{at}")).unwrap();
    let limit = Duration::from_millis(50);
    let error = health(&url, limit).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer within 50ms");
    drop(listener);
    let error = health(&url, LIMIT).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn https_is_spoken() {
    let mut url = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    url.set_scheme("https").unwrap();
    // A plain answer is no TLS answer.
    let error = health(&url, LIMIT).await.unwrap_err();
    assert!(matches!(error, DaemonError::Unreachable(_)), "{error:?}");
}
