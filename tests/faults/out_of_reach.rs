//! A daemon that runs, and that nobody on this machine reaches.

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

const CHECK: &str = "daemon.port";

faults! {
    OWN_NETWORK = Fault {
        title: "The daemon runs in a network namespace of its own",
        symptom: Symptom::Risk("clients are refused at its port of this machine"),
        check: CHECK,
        outcome: "warn",
        after: After::Person("the port has to be published where the daemon is started"),
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_its_own() {
    let mut scene = Scene::sqlite().await;
    scene.set("HOST", "0.0.0.0");
    scene.start_by("exec unshare -n todoctl serve");
    let pid = scene.daemon_pid();
    let report = scene.doctor(CHECK);
    report.says(CHECK, "warn", &format!("todoctl --pid {pid} doctor"));
    scene.proves(&OWN_NETWORK).await;
    scene.end();
    scene.doctor(CHECK).says(CHECK, "pass", "");
}
