//! As whom a probe connects.

use fairlead_api::values::Selection;

use crate::{
    Redirect,
    validation::identity::{Credentials, Identity},
};

/// As whom a socket is the proxy's.
pub(super) fn proxy(redirect: &Redirect, credentials: &Credentials) -> Option<Identity> {
    let first = redirect.proxy_uids.first().map(|uid| Identity {
        uid: *uid,
        gid: redirect.proxy_gids.first().copied().unwrap_or(*uid),
    });
    if is_proxy(redirect, credentials.own)
        && (enters(redirect, credentials.own) || !credentials.anybody)
    {
        return Some(credentials.own);
    }
    first.filter(|_| credentials.anybody)
}

pub(super) fn not_the_proxy() -> String {
    "only a process of the proxy's user, or one with the capabilities SETUID and SETGID, can \
     connect as the proxy"
        .to_owned()
}

/// As whom a socket is an application's that is captured.
pub(super) fn application(
    redirect: &Redirect,
    credentials: &Credentials,
) -> Result<Identity, String> {
    /// Nobody, and as many neighbours as could be the proxy's.
    const STRANGERS: std::ops::RangeInclusive<u32> = 65000..=65534;

    let own = credentials.own;
    if !is_proxy(redirect, own) && captures_group(redirect, own.gid) {
        return Ok(own);
    }
    if !credentials.anybody {
        return Err(format!(
            "this process runs as uid {} and gid {}, which are not captured, and it needs the \
             capabilities SETUID and SETGID to connect as an application",
            own.uid, own.gid
        ));
    }
    let strangers = || [own.gid].into_iter().chain(STRANGERS.rev());
    let listed = match &redirect.owner_groups {
        Selection::All => Vec::new(),
        Selection::Only(groups) => groups.clone(),
    };
    let gid = listed
        .into_iter()
        .chain(strangers())
        .find(|gid| !redirect.proxy_gids.contains(gid) && captures_group(redirect, *gid))
        .ok_or("the settings capture no group")?;
    let uid = [own.uid]
        .into_iter()
        .chain(STRANGERS.rev())
        .find(|uid| !redirect.proxy_uids.contains(uid))
        .ok_or("each user is the proxy's")?;
    Ok(Identity { uid, gid })
}

pub(super) fn is_proxy(redirect: &Redirect, identity: Identity) -> bool {
    redirect.proxy_uids.contains(&identity.uid) || redirect.proxy_gids.contains(&identity.gid)
}

fn captures_group(redirect: &Redirect, gid: u32) -> bool {
    match &redirect.owner_groups {
        Selection::All => !redirect.excluded_owner_groups.contains(&gid),
        Selection::Only(groups) => groups.contains(&gid),
    }
}

/// Whether the proxy's connection over loopback is captured. Unless loopback itself is, the rule
/// that lets other users' connections go follows that of the first user.
pub(super) fn enters(redirect: &Redirect, identity: Identity) -> bool {
    if redirect.captures_loopback() {
        return is_proxy(redirect, identity);
    }
    match redirect.proxy_uids.first() {
        Some(uid) => *uid == identity.uid,
        None => redirect.proxy_gids.first() == Some(&identity.gid),
    }
}
