//! What is asked for besides artifacts.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};

use super::app::{App, Asking, Trouble};
use super::connection::Peer;
use super::form::{self, MAX_REPORT_BYTES};
use crate::model::MacAddr;
use crate::status::{Event, Inventory, MAX_TRIED, MAX_TRIED_BYTES, Tried};

/// The largest inventory of a machine, in bytes.
pub(super) const MAX_INVENTORY_BYTES: usize = 64 << 10;

/// How iPXE calls itself: the only loader that asks for scripts over HTTP, since the files of PXELINUX and GRUB come over
/// TFTP. A waiting initramfs asks, too, to see whether it was approved, and people look; that is no boot.
const LOADER: &str = "iPXE/";

/// Everything but artifacts.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(about))
        .route("/boot.ipxe", get(first_script))
        .route("/boot/{file}", get(script))
        .route(
            "/stage/{mac}",
            post(stage).layer(DefaultBodyLimit::max(MAX_REPORT_BYTES)),
        )
        .route("/discover/{mac}", post(discover))
        .route("/forget/{mac}", post(forget))
        .route(
            "/tried",
            post(tried).layer(DefaultBodyLimit::max(MAX_TRIED_BYTES)),
        )
        .route("/status.json", get(status))
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(MAX_INVENTORY_BYTES))
        .layer(middleware::map_response(never_cached))
        .with_state(app)
}

/// What is told here changes.
async fn never_cached(mut response: Response) -> Response {
    let value = header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, value);
    response
}

async fn nothing() -> Response {
    let known = "there are /boot.ipxe, /boot/MAC.ipxe, /artifact/SHA256, /stage/MAC, /discover/MAC, /forget/MAC, /tried and /status.json\n";
    (StatusCode::NOT_FOUND, known).into_response()
}

/// What is served, and in a second line why that is not what was applied last. `apply` reads this, also that of other
/// versions.
async fn about(State(app): State<Arc<App>>) -> Response {
    let why = app
        .problem(&Trouble::Generation)
        .map_or_else(String::new, |why| why + "\n");
    match app.served() {
        Some(served) => {
            let (name, number) = (&served.cluster.name, served.number);
            format!("regex-provision: cluster {name}, generation {number}\n{why}").into_response()
        }
        None if !why.is_empty() => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
        None => not_applied(),
    }
}

async fn first_script(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    app.first_script(peer.0, asking(&method, &headers))
        .map_or_else(not_applied, IntoText::text)
}

/// Who asks for a script.
fn asking(method: &Method, headers: &HeaderMap) -> Asking {
    let agent = headers.get(header::USER_AGENT);
    let is_loader = agent.is_some_and(|agent| agent.as_bytes().starts_with(LOADER.as_bytes()));
    if is_loader && method == Method::GET {
        Asking::Loader
    } else {
        Asking::Looking
    }
}

async fn script(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path(file): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Some(mac) = file.strip_suffix(".ipxe") else {
        return nothing().await;
    };
    let mac = match mac_of(mac) {
        Ok(mac) => mac,
        Err(refused) => return refused.into_response(),
    };
    let kind = asking(&method, &headers);
    let script = blocking(move || app.script(mac, peer.0, kind)).await;
    match script {
        Ok(script) => script.map_or_else(not_applied, IntoText::text),
        Err(failed) => failed,
    }
}

async fn stage(
    State(app): State<Arc<App>>,
    Extension(Peer(address)): Extension<Peer>,
    Path(mac): Path<String>,
    body: Bytes,
) -> Response {
    let report = |mac, body: &[u8]| match form::report(body) {
        Ok(report) => Ok(Event::Report {
            mac,
            address,
            report,
        }),
        Err(error) => Err(Refused(error.to_string())),
    };
    heard(&app, &mac, &body, report)
}

async fn discover(
    State(app): State<Arc<App>>,
    Extension(Peer(address)): Extension<Peer>,
    Path(mac): Path<String>,
    body: Bytes,
) -> Response {
    let machine = |mac, body: &[u8]| match Inventory::parse(body) {
        Ok(inventory) => Ok(Event::Machine {
            mac,
            address,
            inventory,
        }),
        Err(error) => Err(Refused(format!("the inventory: {error}"))),
    };
    heard(&app, &mac, &body, machine)
}

fn heard(
    app: &App,
    mac: &str,
    body: &[u8],
    read: impl FnOnce(MacAddr, &[u8]) -> Result<Event, Refused>,
) -> Response {
    match mac_of(mac).and_then(|mac| read(mac, body)) {
        Ok(event) => {
            app.hear(event);
            "heard\n".into_response()
        }
        Err(refused) => refused.into_response(),
    }
}

async fn tried(State(app): State<Arc<App>>, body: Bytes) -> Response {
    let tried: Tried = match serde_json::from_slice(&body) {
        Ok(tried) => tried,
        Err(error) => return Refused(format!("what was tried: {error}")).into_response(),
    };
    if tried.nodes.len() > MAX_TRIED {
        return Refused(format!("more than {MAX_TRIED} nodes at once")).into_response();
    }
    for node in tried.nodes {
        app.hear(Event::Tried {
            mac: node.mac,
            means: tried.means,
            problem: node.problem,
        });
    }
    "heard\n".into_response()
}

/// A machine that is not in the cluster; if it lives, it is seen again when it boots.
async fn forget(State(app): State<Arc<App>>, Path(mac): Path<String>) -> Response {
    let mac = match mac_of(&mac) {
        Ok(mac) => mac,
        Err(refused) => return refused.into_response(),
    };
    if app.board().forget_unknown(mac) {
        "forgotten\n".into_response()
    } else {
        let why = format!("no machine {mac} that is not in the cluster was heard of\n");
        (StatusCode::NOT_FOUND, why).into_response()
    }
}

async fn status(State(app): State<Arc<App>>) -> Response {
    match blocking(move || app.status()).await {
        Ok(Some(json)) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Ok(None) => not_applied(),
        Err(failed) => failed,
    }
}

/// Runs what reads files or takes long.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Response> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a request failed");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

fn mac_of(text: &str) -> Result<MacAddr, Refused> {
    text.parse().map_err(|error| Refused(format!("{error}")))
}

/// What was sent is not right, and why.
struct Refused(String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, format!("{}\n", self.0)).into_response()
    }
}

fn not_applied() -> Response {
    let why = "nothing has been applied yet; run `regex-provision apply`\n";
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

/// Plain text, as iPXE wants it.
trait IntoText {
    fn text(self) -> Response;
}

impl IntoText for String {
    fn text(self) -> Response {
        ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], self).into_response()
    }
}
