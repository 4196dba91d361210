//! Bodies as the clients write them.

use skep_grant::{Create, ExecCreate, ExecStart, Json, NetworkAsked};

use super::{spawn, through};

/// `docker run --rm debian:bookworm-slim echo hi`, as the CLI writes it (28.2): dozens of fields that say nothing.
const CLI: &str = r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":true,"AttachStderr":true,
"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":["echo","hi"],"Image":"debian:bookworm-slim",
"Volumes":{},"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":{},"HostConfig":{"Binds":null,
"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},"NetworkMode":"default","PortBindings":{},
"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":true,"VolumeDriver":"","VolumesFrom":null,
"ConsoleSize":[0,0],"CapAdd":null,"CapDrop":null,"CgroupnsMode":"","Dns":[],"DnsOptions":[],"DnsSearch":[],
"ExtraHosts":null,"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"",
"Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"","UsernsMode":"",
"ShmSize":0,"Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"","BlkioWeight":0,
"BlkioWeightDevice":[],"BlkioDeviceReadBps":[],"BlkioDeviceWriteBps":[],"BlkioDeviceReadIOps":[],
"BlkioDeviceWriteIOps":[],"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"",
"CpusetMems":"","Devices":[],"DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,
"MemorySwappiness":-1,"OomKillDisable":false,"PidsLimit":0,"Ulimits":[],"CpuCount":0,"CpuPercent":0,
"IOMaximumIOps":0,"IOMaximumBandwidth":0,"MaskedPaths":null,"ReadonlyPaths":null},
"NetworkingConfig":{"EndpointsConfig":{"default":{"IPAMConfig":null,"Links":null,"Aliases":null,"MacAddress":"",
"DriverOpts":null,"GwPriority":0,"NetworkID":"","EndpointID":"","Gateway":"","IPAddress":"","IPPrefixLen":0,
"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DNSNames":null}}}}"#;

#[test]
fn what_the_docker_command_sends_goes_through() {
    let body = through(CLI, &spawn()).unwrap();
    assert_eq!(body["Cmd"], serde_json::json!(["echo", "hi"]));
    assert_eq!(body["HostConfig"]["AutoRemove"], true);
    assert_eq!(body["HostConfig"]["NetworkMode"], "none");
}

#[test]
fn what_the_docker_command_asks_for_itself_goes_through() {
    // -m 64m --cpus 0.5 --tmpfs /x:size=1m --entrypoint sleep -u 1 --init --read-only --cap-drop ALL --health-cmd true
    let body = CLI
        .replace("\"Memory\":0", "\"Memory\":67108864")
        .replace("\"NanoCpus\":0", "\"NanoCpus\":500000000")
        .replace(
            "\"CapDrop\":null",
            "\"CapDrop\":[\"ALL\"],\"Tmpfs\":{\"/x\":\"size=1m\"},\"Init\":true",
        )
        .replace(
            "\"Entrypoint\":null",
            "\"Entrypoint\":[\"sleep\"],\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"true\"]}",
        );
    let body = through(&body, &spawn()).unwrap();
    assert_eq!(body["HostConfig"]["Memory"], 67_108_864);
    assert_eq!(body["HostConfig"]["Tmpfs"]["/x"], "size=1m");
    assert_eq!(body["HostConfig"]["Init"], true);
    assert_eq!(body["Healthcheck"]["Test"][1], "true");
}

#[test]
fn what_docker_py_sends_goes_through() {
    let body = r#"{"Tty": false, "OpenStdin": false, "StdinOnce": false, "AttachStdin": false, "AttachStdout": false,
        "AttachStderr": false, "Env": ["A=1"], "Cmd": ["sleep", "50"], "Image": "debian:bookworm-slim",
        "NetworkDisabled": false, "HostConfig": {"Memory": 67108864, "NetworkMode": "default"}, "Labels": {"x": "y"}}"#;
    let body = through(body, &spawn()).unwrap();
    assert_eq!(body["Env"], serde_json::json!(["A=1"]));
    assert_eq!(body["Labels"]["x"], "y");
    let exec = r#"{"Container": "0123", "User": "", "Privileged": false, "Tty": false, "AttachStdin": false,
        "AttachStdout": true, "AttachStderr": true, "Cmd": ["echo", "in"]}"#;
    ExecCreate::parse(Json::parse(exec.as_bytes()).unwrap()).unwrap();
}

#[test]
fn what_dockerode_sends_goes_through() {
    let body = r#"{"Hostname":"","User":"","AttachStdin":false,"AttachStdout":true,"AttachStderr":true,"Tty":true,
        "OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":["echo","hi"],"Image":"debian:bookworm-slim",
        "Volumes":{},"VolumesFrom":[]}"#;
    through(&body.replace(",\"VolumesFrom\":[]", ""), &spawn()).unwrap();
    through(body, &spawn()).unwrap();
    ExecStart::parse(Json::parse(br#"{"hijack":true,"stdin":true}"#).unwrap()).unwrap();
}

#[test]
fn a_network_that_nobody_names_is_the_parents() {
    for body in [CLI, "{}", r#"{"HostConfig":null,"NetworkingConfig":null}"#] {
        let create = Create::parse(Json::parse(body.as_bytes()).unwrap(), &spawn()).unwrap();
        assert_eq!(create.network, NetworkAsked::Parents, "{body}");
    }
}

#[test]
fn a_function_takes_a_command_and_an_environment_over_its_template() {
    let create = |body: &str| Create::parse(Json::parse(body.as_bytes()).unwrap(), &spawn()).unwrap();
    create(CLI).over_template().unwrap();
    create(r#"{"Image":"f","Cmd":["a"],"Env":["A=1"],"Labels":{"a":"b"},"Tty":true}"#)
        .over_template()
        .unwrap();
    for body in [
        r#"{"User":"0"}"#,
        r#"{"Entrypoint":["sh"]}"#,
        r#"{"HostConfig":{"Memory":67108864}}"#,
        r#"{"HostConfig":{"Tmpfs":{"/x":""}}}"#,
        r#"{"HostConfig":{"NetworkMode":"none"}}"#,
    ] {
        assert_eq!(create(body).over_template().unwrap_err().status, 403, "{body}");
    }
}
