//! Limits and devices: what an instance finds in its own cgroups, and which devices open, under both engines and on
//! whichever cgroup version the host has.

use http::StatusCode;
use skep_tests::{DEBIAN, Skep};

/// Prints every limit of its own cgroups, what becomes of making and opening devices, and its LSM's label.
const PROBE: &str = r#"exec 2>&1
cd /sys/fs/cgroup
for file in memory.max memory.high memory.swap.max memory.low memory.min memory.oom.group pids.max cpu.max cpu.weight \
  cpu.idle cpuset.cpus cpuset.mems io.weight io.bfq.weight io.max cgroup.freeze cgroup.type cgroup.controllers \
  cgroup.subtree_control memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes \
  memory/memory.soft_limit_in_bytes pids/pids.max cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us \
  cpuset/cpuset.cpus cpuset/cpuset.mems; do
  test -e $file && echo "$file $(cat $file)"
done
test -e memory/memory.oom_control && grep oom_kill_disable memory/memory.oom_control
test -e devices/devices.list && sort devices/devices.list
echo > cgroup.procs; mkdir below memory/below
for device in 'c 1 1' 'c 1 3' 'c 1 5' 'c 1 7' 'c 1 8' 'c 1 9' 'c 1 11' 'c 5 0' 'c 5 1' 'c 5 2' 'c 10 200' 'c 10 229' \
  'c 10 232' 'c 136 0' 'b 7 0' 'b 8 0' 'b 254 0' 'b 259 0'; do
  rm -f /tmp/node; mknod /tmp/node $device; made=$?
  (exec 3</tmp/node) 2>/tmp/read; (exec 3>>/tmp/node) 2>/tmp/write
  echo "$device made $made, read $(sed 's/.*: //' /tmp/read), written $(sed 's/.*: //' /tmp/write)"
done
ls -l /dev | awk '{print $1, $3, $4, $5, $6, $NF}' | grep ^[cb] | sort
cat /proc/self/attr/current; echo
sed 's/[0-9a-f-]\{36,\}/ID/' /proc/self/cgroup | grep -v : | sort
"#;

/// What the same template answers under an engine.
async fn answer(skep: &Skep, engine: &str, flags: &[&str]) -> Vec<String> {
    let engine_label = format!("engine={engine}");
    let flags = [&["--network", "none"], flags].concat();
    let template = skep
        .deploy(
            "limits",
            &["handler=exec", &engine_label],
            &flags,
            &[DEBIAN, "sh", "-c", PROBE],
        )
        .await;
    let got = skep.public.get("/limits").await;
    assert_eq!(got.status, StatusCode::OK, "{engine} {flags:?}: {got:?}");
    skep.docker.remove(&template);
    got.text().lines().map(str::to_owned).collect()
}

async fn alike(topic: &str, matrix: &[&[&str]]) {
    let skep = Skep::start(topic).await;
    for flags in matrix {
        let docker = answer(&skep, "docker", flags).await;
        let lean = answer(&skep, "lean", flags).await;
        let missing: Vec<_> = docker.iter().filter(|line| !lean.contains(line)).collect();
        let added: Vec<_> = lean.iter().filter(|line| !docker.contains(line)).collect();
        assert!(
            missing.is_empty() && added.is_empty(),
            "{flags:?}\ndocker alone: {missing:#?}\nlean alone: {added:#?}"
        );
    }
    skep.finish().await;
}

#[tokio::test]
async fn an_instance_has_the_limits_that_docker_would_give_it() {
    let matrix: [&[&str]; 6] = [
        &[],
        &[
            "--memory",
            "64m",
            "--memory-reservation",
            "32m",
            "--pids-limit",
            "33",
        ],
        &["--memory", "64m", "--memory-swap", "100m", "--cpus", "0.5"],
        &["--memory", "64m", "--memory-swap", "-1", "--cpu-shares", "2000"],
        &[
            "--memory",
            "64m",
            "--memory-swap",
            "64m",
            "--cpuset-cpus",
            "0",
            "--cpuset-mems",
            "0",
        ],
        &[
            "--cpu-period",
            "50000",
            "--cpu-quota",
            "20000",
            "--pids-limit",
            "-1",
        ],
    ];
    alike("limits", &matrix).await;
}

#[tokio::test]
async fn an_instance_may_use_the_devices_that_docker_would_let_it_use() {
    let matrix: [&[&str]; 3] = [
        &[
            "--device",
            "/dev/full:/dev/own:r",
            "--device-cgroup-rule",
            "c 1:11 r",
        ],
        &[
            "--device-cgroup-rule",
            "b 7:* rwm",
            "--device-cgroup-rule",
            "c 10:229 rw",
            "--cap-drop",
            "MKNOD",
        ],
        &["--device-cgroup-rule", "a *:* rwm"],
    ];
    alike("devices", &matrix).await;
}
