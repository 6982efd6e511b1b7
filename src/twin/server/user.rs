//! Who asks: bearer tokens, and impersonation.

use http::header::{AUTHORIZATION, HeaderMap};

use super::super::kube::{Actor, Kube, Status};
use super::User;
use super::rbac::{self, Attributes};

/// Everybody who showed a token.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Everybody who did not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Who may do everything.
pub const MASTERS: &str = "system:masters";

/// The user of a request by its token.
///
/// # Errors
/// 401: the token is not known.
pub fn authenticate(users: &[User], headers: &HeaderMap) -> Result<Actor, Status> {
    let header = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
    let Some(header) = header else {
        return Ok(Actor {
            user: "system:anonymous".to_owned(),
            uid: String::new(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            extra: Vec::new(),
        });
    };
    let token = header.strip_prefix("Bearer ").unwrap_or_default().trim();
    let user = users
        .iter()
        .find(|u| same(&u.token, token))
        .ok_or_else(|| Status::new(401, "Unauthorized", "Unauthorized"))?;
    let mut groups = user.groups.clone();
    groups.push(AUTHENTICATED.to_owned());
    Ok(Actor {
        user: user.name.clone(),
        uid: String::new(),
        groups,
        extra: Vec::new(),
    })
}

/// Compares without saying by its time where two tokens differ.
fn same(a: &str, b: &str) -> bool {
    let differing = a.bytes().zip(b.bytes()).fold(0, |d, (x, y)| d | (x ^ y));
    !a.is_empty() && a.len() == b.len() && differing == 0
}

/// Why an impersonation does not happen.
pub enum NotImpersonated {
    /// It is refused.
    Refused(Status),
    /// The headers make no sense; a plain text answer with code 500.
    Senseless(String),
}

/// The user as whom the request is to be made.
///
/// # Errors
/// The asker may not, or the headers make no sense.
pub fn impersonate(
    kube: &Kube,
    caller: Actor,
    path: &str,
    headers: &HeaderMap,
) -> Result<Actor, NotImpersonated> {
    let all = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).into_iter();
        values
            .filter_map(|v| v.to_str().ok())
            .map(str::to_owned)
            .collect()
    };
    let user = all("impersonate-user")
        .into_iter()
        .next()
        .unwrap_or_default();
    let mut groups = all("impersonate-group");
    if user.is_empty() {
        if groups.is_empty() {
            return Ok(caller);
        }
        let wishes: Vec<String> = groups.iter().map(|g| format!("{{Group  {g}  }}")).collect();
        return Err(NotImpersonated::Senseless(format!(
            "Internal Server Error: \"{path}\": requested [{}] without impersonating a user\n",
            wishes.join(" ")
        )));
    }
    let account = user
        .strip_prefix("system:serviceaccount:")
        .and_then(|u| u.split_once(':'));
    let (namespace, resource, name) = match account {
        Some((namespace, name)) => (namespace, "serviceaccounts", name),
        None => ("", "users", user.as_str()),
    };
    let mut wishes = vec![(namespace, resource, name)];
    wishes.extend(groups.iter().map(|g| ("", "groups", g.as_str())));
    for (namespace, resource, name) in wishes {
        let attributes = Attributes {
            verb: "impersonate",
            group: "",
            resource,
            subresource: "",
            namespace,
            name,
            path: "",
        };
        rbac::require(kube, &caller, &attributes).map_err(NotImpersonated::Refused)?;
    }
    if let Some((namespace, _)) = account
        && groups.is_empty()
    {
        groups.push("system:serviceaccounts".to_owned());
        groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    let stands = |g: &String| g == AUTHENTICATED || g == UNAUTHENTICATED;
    if !groups.iter().any(stands) {
        let default = if user == "system:anonymous" {
            UNAUTHENTICATED
        } else {
            AUTHENTICATED
        };
        groups.push(default.to_owned());
    }
    Ok(Actor {
        user,
        uid: all("impersonate-uid")
            .into_iter()
            .next()
            .unwrap_or_default(),
        groups,
        extra: Vec::new(),
    })
}
