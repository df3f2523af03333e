//! Redfish: a BMC that speaks HTTP and JSON (DSP0266).

use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::StatusCode;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::secret::Secret;
use super::{Action, PowerError, Reply};

/// The largest answer, in bytes.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

const SYSTEMS: &str = "/redfish/v1/Systems";

/// A service that is spoken to.
pub(super) struct Redfish<'a> {
    url: &'a str,
    system: Option<&'a str>,
    secret: Secret,
    limit: Duration,
    agent: Agent,
}

impl<'a> Redfish<'a> {
    pub(super) fn new(
        url: &'a str,
        system: Option<&'a str>,
        verify: bool,
        secret: Secret,
        limit: Duration,
    ) -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .disable_verification(!verify)
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(limit))
            .http_status_as_error(false)
            // A password goes to the machine that was named, and nowhere else.
            .max_redirects(0)
            .proxy(None)
            .build()
            .new_agent();
        Self {
            url,
            system,
            secret,
            limit,
            agent,
        }
    }

    pub(super) fn act(&self, action: Action, netboot: bool) -> Result<Reply, PowerError> {
        let path = self.system_path()?;
        let system = self.get(&path)?;
        let state = match system["PowerState"].as_str() {
            Some("On" | "PoweringOn") => Reply::On,
            Some("Off" | "PoweringOff") => Reply::Off,
            _ => return Err(self.strange(&format!("PowerState {}", system["PowerState"]))),
        };
        if netboot {
            let once = json!({ "Boot": {
                "BootSourceOverrideEnabled": "Once",
                "BootSourceOverrideTarget": "Pxe",
            }});
            self.send("PATCH", &path, &once)?;
        }
        let reset = &system["Actions"]["#ComputerSystem.Reset"];
        let allows = |kind: &str| {
            let kinds = reset["ResetType@Redfish.AllowableValues"].as_array();
            // A service that lists none says nothing about them.
            kinds.is_none_or(|kinds| kinds.iter().any(|value| value == kind))
        };
        let kind = match (action, state) {
            (Action::Status, _) | (Action::On, Reply::On) | (Action::Off, Reply::Off) => {
                return Ok(state);
            }
            (Action::On, _) | (Action::Cycle, Reply::Off) => "On",
            (Action::Off, _) => "ForceOff",
            (Action::Cycle, _) if allows("PowerCycle") => "PowerCycle",
            (Action::Cycle, _) => "ForceRestart",
        };
        let standard = format!("{path}/Actions/ComputerSystem.Reset");
        let target = reset["target"].as_str().unwrap_or(&standard);
        self.send("POST", target, &json!({ "ResetType": kind }))?;
        Ok(Reply::Told)
    }

    /// The path of the node's system: the one that is named, or the only one.
    fn system_path(&self) -> Result<String, PowerError> {
        if let Some(system) = self.system {
            return Ok(format!("{SYSTEMS}/{system}"));
        }
        let systems = self.get(SYSTEMS)?;
        let members = systems["Members"].as_array().map_or(&[][..], Vec::as_slice);
        let ids: Vec<&str> = members
            .iter()
            .filter_map(|member| member["@odata.id"].as_str())
            .collect();
        match ids[..] {
            [only] => Ok(only.to_owned()),
            [] => Err(self.strange("no system")),
            _ => {
                let names: Vec<_> = ids.iter().filter_map(|id| id.rsplit('/').next()).collect();
                let names = names.join(", ");
                Err(self.strange(&format!("several systems; name one with `system`: {names}")))
            }
        }
    }

    fn get(&self, path: &str) -> Result<Value, PowerError> {
        let request = self
            .agent
            .get(self.whole(path)?)
            .header("Authorization", self.basic());
        self.answer(request.call())
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, PowerError> {
        let url = self.whole(path)?;
        let request = match method {
            "PATCH" => self.agent.patch(url),
            _ => self.agent.post(url),
        };
        let request = request
            .header("Authorization", self.basic())
            .header("Content-Type", "application/json");
        self.answer(request.send(body.to_string()))
    }

    /// The URL of a path that the service gave. Only paths: a URL would lead our password elsewhere.
    fn whole(&self, path: &str) -> Result<String, PowerError> {
        if path.starts_with('/') && !path.starts_with("//") {
            Ok(format!("{}{path}", self.url))
        } else {
            Err(self.strange(&format!("the path {path}")))
        }
    }

    fn basic(&self) -> String {
        use base64::prelude::{BASE64_STANDARD, Engine as _};
        let pair = format!("{}:{}", self.secret.user, self.secret.password);
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }

    /// An answer's JSON; null where it has none.
    fn answer(
        &self,
        result: Result<ureq::http::Response<Body>, ureq::Error>,
    ) -> Result<Value, PowerError> {
        let address = self.url.to_owned();
        let response = match result {
            Ok(response) => response,
            Err(ureq::Error::Timeout(_)) => {
                let limit = self.limit;
                return Err(PowerError::TimedOut { address, limit });
            }
            Err(error) => {
                let words = error.to_string();
                return Err(PowerError::Unreachable { address, words });
            }
        };
        let status = response.status();
        let mut body = response.into_body();
        let text = body.with_config().limit(MAX_ANSWER_BYTES).read_to_string();
        let text = text.map_err(|error| PowerError::Unreachable {
            address: address.clone(),
            words: error.to_string(),
        })?;
        let value: Option<Value> = serde_json::from_str(&text).ok();
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            let words = words(value.as_ref(), status);
            return Err(PowerError::Refused { address, words });
        }
        if !status.is_success() {
            let program = address;
            let words = words(value.as_ref(), status);
            return Err(PowerError::Failed { program, words });
        }
        match value {
            Some(value) => Ok(value),
            None if text.trim().is_empty() => Ok(Value::Null),
            None => Err(self.strange(&text)),
        }
    }

    fn strange(&self, answer: &str) -> PowerError {
        PowerError::Answer {
            address: self.url.to_owned(),
            answer: answer.chars().take(200).collect(),
        }
    }
}

/// The service's own words for an error, with the status.
fn words(value: Option<&Value>, status: StatusCode) -> String {
    let error = value.map_or(&Value::Null, |value| &value["error"]);
    let info = &error["@Message.ExtendedInfo"];
    let said = [&info[0]["Message"], &info["Message"], &error["message"]];
    match said.iter().find_map(|said| said.as_str()) {
        Some(said) => format!("{said} ({status})"),
        None => status.to_string(),
    }
}
