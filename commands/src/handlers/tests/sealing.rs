//! What is sealed never shows, and opens with its key only.

use super::super::testing::World;
use domain::aggregate::device::DevicePatch;
use domain::event::Reason;
use domain::ports::KeyStore;
use domain::sealed::SealedField;
use serde_json::json;

#[tokio::test]
async fn no_name_address_note_or_token_is_ever_in_the_ledger_in_the_clear() {
    let world = World::new().await;
    let site = world.site().await;
    let mut device = world.new_device(&site, "fridge01");
    device.notes = Some("ring at Lovelace's".into());
    let because = Reason {
        code: "repair".into(),
        text: Some("Lovelace complained".into()),
    };
    let made = world
        .management
        .create_device(&world.owner, &because, device)
        .await
        .expect("created");
    let token = made.token.as_ref().expect("shown once").text().to_owned();
    let patch = DevicePatch {
        name: Some("Freezer of Lovelace".into()),
        ..DevicePatch::default()
    };
    world
        .management
        .patch_device(&world.owner, &because, &made.id, None, patch)
        .await
        .expect("changed");
    let secret = token.rsplit('_').next().expect("a secret").to_owned();
    for bytes in world.entries().await {
        let text = String::from_utf8(bytes).expect("UTF-8");
        for hidden in [
            "Ada",
            "ada@",
            "xample",
            "Lovelace",
            "Kitchen",
            "Main street",
            "Fridge",
            "ring",
            &secret,
        ] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
    }
}

#[tokio::test]
async fn sealed_values_open_with_the_right_keys_also_after_they_were_replaced() {
    let world = World::new().await;
    let site = world.site().await;
    let device = world.device(&site, "fridge01").await;
    let because = Reason {
        code: "renamed".into(),
        text: Some("new sticker".into()),
    };
    let patch = DevicePatch {
        name: Some("Freezer".into()),
        ..DevicePatch::default()
    };
    let changed = world
        .management
        .patch_device(&world.owner, &because, &device.id, None, patch)
        .await
        .expect("changed");
    assert_eq!(changed.sequence, 2);
    let opener = world.management.opener();
    let (_, payload, metadata) = world.recorded(changed.positions.clone()).await.remove(0);
    let old: SealedField = serde_json::from_value(payload["changes"]["name"]["old"].clone()).expect("old");
    assert_eq!(
        opener.open("device", &device.id, &old).as_deref(),
        Some("Fridge by the door")
    );
    assert_eq!(opener.open("site", &device.id, &old), None);
    assert_eq!(metadata["reason"], json!({"code": "renamed"}));
    assert!(payload["reason_text"]["sealed"].is_object());
    // What the registry holds opens too, with the account's key; a person's with their own.
    let (name, email, account, user) = {
        let registry = world.registry.read();
        let device = registry.device(&world.owner.account, &device.id).expect("there");
        let user = registry
            .user(&world.owner.account, &world.owner.id)
            .expect("there");
        (
            device.state.name.clone().expect("sealed"),
            user.state.email.clone().expect("sealed"),
            world.key_id(&world.owner.account),
            world.key_id(&world.owner.id),
        )
    };
    assert_eq!(
        opener.open("device", &device.id, &name).as_deref(),
        Some("Freezer")
    );
    assert_eq!(
        opener.open("user", &world.owner.id, &email).as_deref(),
        Some("ada@example.org")
    );
    assert_eq!(
        (name.sealed.key, email.sealed.key.clone()),
        (account, user.clone())
    );
    assert_eq!(world.key_count(), 2);
    // Destroying a person's key erases their address and nothing else.
    world.keys.destroy(&user).expect("destroyed");
    assert_eq!(opener.open("user", &world.owner.id, &email), None);
    assert_eq!(
        opener.open("device", &device.id, &old).as_deref(),
        Some("Fridge by the door")
    );
}
