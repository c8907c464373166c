//! Contacts: one chat in several accounts, and who unsubscribed.

use super::super::testing::{World, reason};
use super::super::{Actor, Management};
use super::refused;
use domain::aggregate::contact::{ContactCommand, NewContact};
use domain::event::contact::{ContactKind, Preferences};
use domain::rejection::Fault;

fn new(kind: ContactKind, address: Option<&str>) -> NewContact {
    NewContact {
        kind,
        name: "Kim".into(),
        address: address.map(|address| (address.to_owned(), String::new())),
        secret: None,
        user: None,
        preferences: Preferences::default(),
    }
}

async fn add(management: &Management, actor: &Actor, new: NewContact) -> String {
    let added = management.add_contact(actor, &reason(), new).await;
    added.expect("added").outcome.id
}

#[tokio::test]
async fn a_chat_is_linked_once_an_account_and_in_as_many_accounts_as_it_is_asked_by() {
    let world = World::new().await;
    let (here, there) = (&world.owner, &world.stranger().await);
    let management = &world.management;
    let chat = || new(ContactKind::Telegram, None);
    let (one, again, other) = (
        add(management, here, chat()).await,
        add(management, here, chat()).await,
        add(management, there, chat()).await,
    );
    management
        .link_chat(&here.account, &one, "-77")
        .await
        .expect("linked");
    let twice = management.link_chat(&here.account, &again, "-77").await;
    assert_eq!(refused(twice), ("contact_exists", Fault::Conflict));
    management
        .link_chat(&there.account, &other, "-77")
        .await
        .expect("linked");
    let both = [(here.account.clone(), one), (there.account.clone(), other)];
    assert_eq!(management.contacts_of_chat("-77"), both);
    assert_eq!(management.contacts_of_chat("77"), []);
}

#[tokio::test]
async fn who_unsubscribed_is_not_added_again_by_whoever_takes_the_contact_away() {
    let world = World::new().await;
    let (here, there) = (&world.owner, &world.stranger().await);
    let management = &world.management;
    let mail = || new(ContactKind::Email, Some("kim@example.eu"));
    let kim = add(management, here, mail()).await;
    for command in [ContactCommand::Confirm, ContactCommand::Unsubscribe] {
        management
            .contact_did(&here.account, &kim, "link", command)
            .await
            .expect("done");
    }
    management
        .remove_contact(here, &reason(), &kim, None)
        .await
        .expect("removed");
    let again = management.add_contact(here, &reason(), mail()).await;
    assert_eq!(refused(again), ("contact_unsubscribed", Fault::Conflict));
    // Of another account they said nothing.
    let other = add(management, there, mail()).await;
    management
        .remove_contact(there, &reason(), &other, None)
        .await
        .expect("removed");
    add(management, there, mail()).await;
}
