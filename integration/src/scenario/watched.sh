# `watch NAME` starts the daemon with /watch/NAME.toml and returns when it sees everything; `unwatch` stops it.
ulimit -l unlimited
watch() {
    round=$1
    shift
    /kmodtrail run --config /watch/$round.toml "$@" > /out/$round.terminal 2> /out/$round.log &
    daemon=$!
    /actor wait-for /out/$round.jsonl kmodtrail.coverage 1 60
}
unwatch() {
    kill -TERM $daemon
    wait $daemon
    echo $? > /out/$round.status
}
# `refuse NAME COMMAND...` lets COMMAND start the daemon where it is expected to end by itself.
refuse() {
    round=$1
    shift
    timeout 60 "$@" /kmodtrail run --config /watch/$round.toml > /out/$round.terminal 2> /out/$round.log
    echo $? > /out/$round.status
}
