//! People, their roles and tokens.

use super::super::testing::{World, reason};
use super::super::{Actor, NewUser, UserPatch};
use super::{RETIRED, refused};
use crate::tokens::{AuthError, parse};
use domain::aggregate::account::AccountCommand;
use domain::aggregate::site::SitePatch;
use domain::ports::Clock;
use domain::registry::NotAdmitted;
use domain::rejection::Fault;

#[tokio::test]
async fn the_first_account_begins_with_its_owner_and_a_token_in_one_commit() {
    let world = World::new().await;
    let recorded = world.recorded(0..3).await;
    let types: Vec<&str> = recorded
        .iter()
        .map(|(event_type, ..)| event_type.as_str())
        .collect();
    assert_eq!(types, ["AccountOpened", "UserRegistered", "TokenIssued"]);
    let (account, owner) = (&world.owner.account, &world.owner.id);
    for (n, (_, _, metadata)) in recorded.iter().enumerate() {
        assert_eq!(metadata["account"], **account);
        assert_eq!(metadata["actor"], "system:setup");
        assert_eq!(metadata["owner"], **account, "{n}");
        assert_eq!(metadata["reason"]["code"], "setup");
    }
    let again = world.management.bootstrap("Second", "b@example.org", None).await;
    assert_eq!(refused(again), ("already_exists", Fault::Conflict));
    let identity = world
        .authenticator
        .authenticate(&world.registry, &world.owner_token, world.clock.now())
        .await
        .expect("let in");
    assert_eq!(
        (identity.owner.as_str(), identity.role.as_deref()),
        (owner.as_str(), Some("owner"))
    );
}

#[tokio::test]
async fn an_auditor_changes_nothing_but_may_have_a_token_of_their_own() {
    let world = World::new().await;
    let site = world.site().await;
    let new = NewUser {
        email: "bob@example.org".into(),
        name: None,
        role: "auditor".into(),
    };
    let bob = world
        .management
        .add_user(&world.owner, &reason(), new.clone())
        .await
        .expect("added");
    let again = world.management.add_user(&world.owner, &reason(), new).await;
    assert_eq!(refused(again), ("email_taken", Fault::Conflict));
    let auditor = Actor {
        id: bob.id.clone(),
        role: "auditor".into(),
        ..world.owner.clone()
    };
    let forbidden = ("forbidden", Fault::Forbidden);
    let (m, r) = (&world.management, &reason());
    assert_eq!(
        refused(m.patch_site(&auditor, r, &site, None, SitePatch::default()).await),
        forbidden
    );
    assert_eq!(
        refused(m.create_site(&auditor, r, "B", "haccp", "UTC", None).await),
        forbidden
    );
    assert_eq!(
        refused(m.issue_user_token(&auditor, r, &world.owner.id).await),
        forbidden
    );
    let issued = m.issue_user_token(&auditor, r, &bob.id).await.expect("issued");
    let token = issued.token.expect("shown once");
    let identity = world
        .authenticator
        .authenticate(&world.registry, token.text(), world.clock.now())
        .await
        .expect("let in");
    assert_eq!(identity.role.as_deref(), Some("auditor"));
    let rotated = m
        .rotate_user_token(&auditor, r, &bob.id, &token.id, 0)
        .await
        .expect("rotated");
    let newer = rotated.token.expect("shown once");
    m.revoke_user_token(&auditor, r, &bob.id, &newer.id)
        .await
        .expect("revoked");
    let ended = world
        .authenticator
        .authenticate(&world.registry, newer.text(), world.clock.now())
        .await;
    assert_eq!(ended, Err(AuthError::NotAdmitted(NotAdmitted::Revoked)));
}

#[tokio::test]
async fn people_change_and_leave_but_an_owner_stays() {
    let world = World::new().await;
    let (m, r) = (&world.management, &reason());
    let me = world.owner.id.clone();
    assert_eq!(
        refused(m.remove_user(&world.owner, r, &me, None).await),
        ("last_owner", Fault::Conflict)
    );
    let demote = UserPatch {
        role: Some("auditor".into()),
        ..UserPatch::default()
    };
    assert_eq!(
        refused(m.patch_user(&world.owner, r, &me, None, demote).await),
        ("last_owner", Fault::Conflict)
    );
    let moved = UserPatch {
        email: Some("ada@example.com".into()),
        ..UserPatch::default()
    };
    let changed = m
        .patch_user(&world.owner, r, &me, None, moved)
        .await
        .expect("changed");
    let (_, payload, _) = world.recorded(changed.positions).await.remove(0);
    assert!(payload["changes"]["email"]["old"]["place"].is_object());
    assert!(payload["changes"]["email_index"]["old"].is_string());
    let by_email = |email: &str| {
        let index = m.email_index(email).expect("an address");
        world
            .registry
            .read()
            .user_by_email(&index)
            .map(|user| user.id.to_string())
    };
    assert_eq!(by_email("ADA@example.com "), Some(me.clone()));
    assert_eq!(by_email("ada@example.org"), None);
    m.record_sign_in_link(&world.owner.account, &me)
        .await
        .expect("recorded");
    m.record_sign_in(&world.owner.account, &me)
        .await
        .expect("recorded");
    let second = NewUser {
        email: "bob@example.org".into(),
        name: None,
        role: "owner".into(),
    };
    m.add_user(&world.owner, r, second).await.expect("added");
    let removed = m.remove_user(&world.owner, r, &me, None).await.expect("removed");
    let types: Vec<String> = world
        .recorded(removed.positions)
        .await
        .into_iter()
        .map(|(t, ..)| t)
        .collect();
    assert_eq!(types, ["UserRemoved", "TokenRevoked"]);
    let old = world
        .authenticator
        .authenticate(&world.registry, &world.owner_token, world.clock.now())
        .await;
    assert_eq!(old, Err(AuthError::NotAdmitted(NotAdmitted::Revoked)));
}

#[tokio::test]
async fn a_suspended_account_is_shut_out_and_can_be_let_in_again() {
    let world = World::new().await;
    let operator = Actor::system("operator", &world.owner.account);
    let change = |command| {
        world
            .management
            .change_account(&operator, &RETIRED, None, command)
    };
    change(AccountCommand::Suspend).await.expect("suspended");
    let admit = || {
        world
            .authenticator
            .authenticate(&world.registry, &world.owner_token, world.clock.now())
    };
    let shut = admit().await;
    assert_eq!(shut, Err(AuthError::NotAdmitted(NotAdmitted::Suspended)));
    assert_eq!(shut.map_err(|e| e.code()), Err("account_suspended"));
    change(AccountCommand::Resume).await.expect("resumed");
    assert!(admit().await.is_ok());
}

#[tokio::test]
async fn a_token_with_a_bent_secret_or_of_another_kind_is_nobodys() {
    let world = World::new().await;
    let good = world.owner_token.clone();
    let now = world.clock.now();
    let try_it = |text: String| {
        let world = &world;
        async move {
            world
                .authenticator
                .authenticate(&world.registry, &text, now)
                .await
        }
    };
    assert!(try_it(good.clone()).await.is_ok());
    let last = if good.ends_with('a') { 'b' } else { 'a' };
    let bent = format!("{}{last}", &good[..good.len() - 1]);
    assert_eq!(try_it(bent).await, Err(AuthError::WrongSecret));
    let of_a_device = good.replacen("ua_live_", "ds_live_", 1);
    assert!(parse(&of_a_device).is_some());
    assert_eq!(
        try_it(of_a_device).await,
        Err(AuthError::NotAdmitted(NotAdmitted::Unknown))
    );
    assert_eq!(try_it("nonsense".into()).await, Err(AuthError::Malformed));
    assert!(try_it(good).await.is_ok());
}
