//! Witnesses: `hostile` what anybody may send to ours · `service` a ledger and its witnesses, and what an auditor makes
//! of it.

mod hostile;
