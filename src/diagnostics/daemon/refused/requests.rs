//! Paths, probes, connections, bodies, refreshes and preflights that are refused.

use super::cause::{Among, Cause, Usual, any, path, refresh, write};

pub(super) const CAUSES: &[Cause] = &[
    path(
        "path_prefix",
        "requests with credentials were for the right path below a prefix (404)",
        "let the proxy in front take its prefix off the path, so that /api/tasks/ arrives as /tasks/ (nginx: proxy_pass with / at the end), or correct the base address in the clients",
    ),
    path(
        "path_slashes",
        "requests with credentials had a path with // in it (404)",
        "take the slash from the end of the base address in the clients, or of the address in the proxy",
    ),
    path(
        "path_case",
        "requests with credentials had a path in capitals (404)",
        "let clients, and rules of the proxy, write paths in small letters: /tasks/",
    ),
    path(
        "path_encoded",
        "requests with credentials had an encoded slash in the path (404)",
        "let clients encode the parts of a path only, and the proxy pass the path on as it is (%2F is no /)",
    ),
    path(
        "path_cut",
        "requests with credentials lacked the beginning of the path (404)",
        "let the proxy in front pass the whole path on (nginx: proxy_pass without / at the end, location /tasks/ and not /tasks; Traefik: no StripPrefix; Caddy: handle, and not handle_path)",
    ),
    path(
        "path",
        "requests with credentials were for paths that do not exist (404)",
        "correct the base address in the clients, or the rules of the proxy in front: /docs shows the paths; a client of another version may ask for others",
    ),
    any(
        "probe_path",
        "requests of probes or scrapers were for paths that do not exist here (404)",
        "let load balancers and platforms ask for GET /health/ready, liveness probes for /health/live, and Prometheus for /metrics on PORT or, if it is set, on METRICS_ADDR (127.0.0.1 there is reached from this machine or container alone)",
    )
    .among(Among::Answers)
    .usual(Usual::ByFewAtATime),
    any(
        "probe_method",
        "requests of probes had a method that is not answered (405)",
        "let load balancers ask with GET or HEAD (HAProxy: http-check send meth GET uri /health/ready)",
    )
    .among(Among::Answers)
    .usual(Usual::ByFewAtATime),
    any(
        "Host",
        "requests had no Host header, or not one host and port (400)",
        "let probes and proxies send one Host header, which HTTP/1.1 needs (HAProxy: http-check send meth GET uri /health/ready ver HTTP/1.1 hdr Host localhost; nginx: proxy_set_header Host $host, once)",
    )
    .among(Among::Answers)
    .usual(Usual::ByFewAtATime),
    any(
        "stream",
        "requests wanted a WebSocket or a stream of events, and there is none here (404)",
        "correct the address in the client, or the rule of the proxy: it may be of another service, and todoctl's clients ask GET /notifications/ again and again",
    )
    .among(Among::Answers)
    .usual(Usual::ByFewAtATime),
    any(
        "client_left",
        "requests had no client any more when they were answered, after more than a second",
        "find what is slow (database.locks, database.latency, daemon.pool), or give the proxy and the clients a time-out longer than REQUEST_TIMEOUT_SECONDS (nginx: proxy_read_timeout 60s; HAProxy: timeout server 60s)",
    )
    .among(Among::Answers),
    any(
        "Transfer-Encoding",
        "requests had a Transfer-Encoding other than chunked (400)",
        "let the proxy in front send bodies with Content-Length or as chunked, and Content-Encoding nowhere",
    ),
    any(
        "TE",
        "requests had a TE header with chunked (400)",
        "let the proxy or the client leave chunked out of TE (RFC 9110, section 10.1.4)",
    ),
    any(
        "proxy_protocol",
        "connections began with a header of the PROXY protocol (400)",
        "turn it off in what is in front, which sends the client's address as X-Forwarded-For instead (HAProxy: no send-proxy on the server line, and option forwardfor; AWS: target group attribute proxy_protocol_v2.enabled=false; Traefik: no proxyProtocol for the server)",
    )
    .among(Among::Answers)
    .usual(Usual::ByFewAtATime),
    any(
        "tls",
        "connections began with TLS, and this port has none (400)",
        "let what is in front speak plain HTTP to it (http:// and not https:// as its address; HAProxy: no ssl on the server line; nginx: proxy_pass with http; Kubernetes: no scheme HTTPS, no backend-protocol HTTPS)",
    )
    .among(Among::Answers)
    .usual(Usual::ByFewAtATime),
    any(
        "http2",
        "connections began with HTTP/2, and only HTTP/1.1 is spoken here",
        "let what is in front speak HTTP/1.1 to it (Cloud Run: turn off HTTP/2 end-to-end; Envoy: no http2_protocol_options for the cluster; AWS: target group with protocol version HTTP1; Kubernetes: no appProtocol kubernetes.io/h2c)",
    )
    .among(Among::Answers)
    .usual(Usual::ByFewAtATime),
    any(
        "head_too_large",
        "requests had a head that is too large: more than 100 headers, or more than 64 KiB (431), or too long an address (414)",
        "find what makes it large: cookies of other services of the same domain (let the proxy drop Cookie for all but /api/auth), or headers that a proxy adds each time (two that point at each other)",
    )
    .among(Among::Answers)
    .usual(Usual::ByFewAtATime),
    any(
        "malformed_head",
        "connections sent a first line that is not HTTP/1.1 (400)",
        "let clients encode blanks and letters outside of ASCII in addresses (%20), and check which protocol what is in front speaks",
    )
    .of(&["address", "another part", "method", "version"])
    .among(Among::Answers)
    .usual(Usual::ByFewAtATime),
    any(
        "malformed_head",
        "requests had a header that cannot be read (400)",
        "let clients and proxies write each header in one line (a folded header, which goes on in the next line, is not accepted), without control characters and without a blank before the colon",
    )
    .of(&["header"])
    .among(Among::Answers)
    .usual(Usual::ByFewAtATime),
    any(
        "malformed_head",
        "requests had a Content-Length or a Transfer-Encoding that cannot be read (400)",
        "let clients and proxies send one Content-Length, or Transfer-Encoding: chunked; identity (Transfer-Encoding: identity) is no longer part of HTTP/1.1",
    )
    .of(&["Content-Length", "Transfer-Encoding"])
    .among(Among::Answers)
    .usual(Usual::ByFewAtATime),
    write(
        "media_type",
        "had another Content-Type than application/json (415)",
        "let the client, or the gateway in front, send JSON with Content-Type: application/json",
    ),
    write(
        "content_encoding",
        "had a compressed body (Content-Encoding), which is not read here (400)",
        "let the client, or the gateway in front, send bodies without Content-Encoding",
    ),
    write(
        "not_utf8",
        "had a body that is not UTF-8 (400)",
        "let the client encode its bodies in UTF-8",
    )
    .usual(Usual::Sometimes),
    write(
        "idempotency_key_reused",
        "had the same Idempotency-Key as an earlier one for another task (422)",
        "let the client make a new key for each task, and send it again only with the same task",
    ),
    write(
        "parameters",
        "had parameters that are not valid (422)",
        "compare what arrives with what the client sends (a proxy may add a second question mark, or encode twice), and both with /docs: the client may be of another version",
    ),
    write(
        "path_id",
        "had no id in the path (422)",
        "let clients put the id of the task or notification there, as the answer to GET or POST has it: theirs is a variable that is not set, or the id of another system",
    ),
    write(
        "body_form",
        "had a body of another form (422)",
        "compare what arrives with what the client sends (a gateway may change bodies), and both with /docs, as to names and types of the fields: the client may be of another version; the answer's body names each field",
    )
    .usual(Usual::Sometimes),
    write(
        "validation",
        "had a body with values that are not valid (422)",
        "compare what arrives with what the client sends, and both with /docs: the client may check less than this version; the answer's body names each field",
    )
    .usual(Usual::InTurn),
    any(
        "misspelt",
        "had a field or a parameter whose name is spelt differently here, and that was ignored",
        "let the client write names as /docs has them (due_date, and not dueDate): what it sends under another name is neither stored nor searched for; a proxy or a library may convert names",
    )
    .among(Among::Route),
    write(
        "method",
        "were for a path that does not have that method (405)",
        "let the gateway in front pass methods on as they are, and compare the client with /docs: it may be of another version",
    ),
    write(
        "precondition",
        "had a weak ETag in If-Match (W/), which never matches (412)",
        "let the proxy in front leave ETag as it is: compression there makes it weak (nginx: gzip off for this location, Apache: DeflateAlterETag NoChange)",
    )
    .of(&["weak"]),
    write(
        "Idempotency-Key",
        "had an Idempotency-Key that is empty, too long or there twice (400)",
        "let the client send one key of at most 255 visible ASCII characters",
    ),
    write(
        "body_incomplete",
        "had a body that ended before its Content-Length (400)",
        "check the Content-Length that the client or the gateway writes (bytes, not characters), and the time-out of the proxy in front",
    )
    .usual(Usual::Sometimes),
    write(
        "body_timed_out",
        "had a body that did not arrive in time (408)",
        "check the Content-Length that the client or the gateway writes (bytes, not characters), and let the proxy in front buffer bodies (nginx: proxy_request_buffering on)",
    )
    .usual(Usual::Sometimes),
    refresh(
        "refresh_missing",
        "refreshes of access tokens had no cookie with a refresh token (401)",
        "let the proxy in front pass Cookie on for /api/auth, and let the page send it (fetch with credentials: \"include\"), over https:// and from the same site",
    )
    .of(&["no cookie"])
    .usual(Usual::ByStrangers),
    refresh(
        "refresh_missing",
        "refreshes of access tokens had their refresh token elsewhere than in the cookie refresh_token (401)",
        "let the sign-in service name its cookie refresh_token, without a prefix (__Secure-), and let clients send that cookie: Authorization and bodies are not read",
    )
    .of(&["Authorization", "a body", "another cookie"])
    .usual(Usual::Sometimes),
    refresh(
        "refresh_method",
        "refreshes of access tokens had another method than POST (405)",
        "let clients ask with POST /api/auth/refresh; a redirect on the way (301, 302) makes GET of it: let it answer 308, or correct the address",
    )
    .usual(Usual::Sometimes),
    refresh(
        "refresh_invalid",
        "refreshes of access tokens had a refresh token that is not in user_sessions (401)",
        "check that the sign-in service writes its refresh tokens to this database (DATABASE_URL), as the hash that it did before; tokens of another environment are not accepted; where both cookies are sent, refresh_token is read, so let the sign-in service delete the one that it no longer uses",
    )
    .usual(Usual::Sometimes),
    refresh(
        "refresh_no_table",
        "refreshes of access tokens found no table user_sessions in this database (401)",
        "let the sign-in service use this database (DATABASE_URL) and write its refresh tokens to user_sessions; if a migration of its own has renamed the table, rename it back",
    )
    .usual(Usual::Sometimes),
    refresh(
        "refresh_no_column",
        "refreshes of access tokens found no column token, userId or expiresAt in the table user_sessions (401)",
        "let the sign-in service give these columns back: a migration of its own may have renamed or dropped one",
    )
    .usual(Usual::Sometimes),
    refresh(
        "refresh_expired",
        "refreshes of access tokens had a refresh token that has expired (401)",
        "check the lifetime that the sign-in service gives its refresh tokens, and the clocks of both machines (date -u)",
    )
    .usual(Usual::InTurn),
    any(
        "preflight_header",
        "preflights of allowed pages were refused because of a header that pages may not send (400)",
        "let the page not add that header (axios and older libraries add X-Requested-With); an API key or a service's header has no place in a page",
    ),
    any(
        "preflight_method",
        "preflights of allowed pages were refused because of their method (400)",
        "compare the page with /docs: it may be of another version",
    ),
    any(
        "preflight_origin",
        "preflights had the origin null, as pages of a file (file://) or a sandboxed iframe have it (400)",
        "serve the page over http:// or https:// and name that origin in CORS_ORIGINS; give the iframe allow-same-origin",
    )
    .of(&["null"])
    .among(Among::Answers)
    .usual(Usual::ByFewAtATime),
    any(
        "limited_silent_proxy",
        "requests were answered with 429 because all clients of a trusted proxy share its limit of wrong credentials: it sends no X-Forwarded-For",
        "let the proxy add it (nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; HAProxy: option forwardfor); if these are no requests of the proxy, the client there has wrong credentials",
    ),
    any(
        "limited_other_header",
        "requests were answered with 429 because all clients of a trusted proxy share its limit of wrong credentials: it sends another header than X-Forwarded-For, or no address in it",
        "let the proxy add X-Forwarded-For as well (nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for), because only that one is read",
    ),
    any(
        "limited_second_proxy",
        "requests of several clients behind one address were answered with 429: they share a limit of wrong credentials, if that address is another proxy or a CDN",
        "if it is yours, add the networks that the CDN publishes for its servers to TRUSTED_PROXIES, and restart the daemon",
    )
    .usual(Usual::ByOne),
];
