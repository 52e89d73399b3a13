# kmodtrail, with one file sink that takes everything. READY is what it says to its service manager.
start() {
    cat > /tmp/kmodtrail.toml << END
[modules]
check_interval = "${interval:-1m}"

[sinks.records]
type = "file"
path = "/tmp/records.jsonl"

[[routes]]
name = "everything"
to = ["records"]
END
    rm -f /tmp/notify /tmp/notified
    /actor notified /tmp/notify /tmp/notified &
    until [ -S /tmp/notify ]; do sleep 0.01; done
    subject env NOTIFY_SOCKET=/tmp/notify /kmodtrail run --config /tmp/kmodtrail.toml
    /actor wait-for /tmp/notified READY=1 1 600
}
seen_loads() { /actor count /tmp/records.jsonl '"linux.kernel_module.load"'; }
seen_requests() { /actor count /tmp/records.jsonl '"linux.kernel_module.request"'; }
