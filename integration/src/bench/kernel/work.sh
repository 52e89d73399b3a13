# The work of `cargo xtask bench kernel`, the same for every subject: first with nothing running, then with the subject, which a script
# before this one has described: `start` starts it by `subject COMMAND...` and returns when it is ready, `seen_loads` and
# `seen_requests` print how many loads and module requests it has noticed.
group=/sys/fs/cgroup/subject
mkdir $group

subject() {
    (echo 0 > $group/cgroup.procs; exec "$@") > /out/subject.log 2>&1 &
    pid=$!
}
# What of the subject is kept under a name, for bench/kernel/measurement.rs.
cpu() { cat $group/cpu.stat > "/out/cpu.$1"; }
memory() { cat /proc/$pid/status > "/out/status.$1"; }
descriptors() { cat /proc/$pid/fdinfo/* > "/out/fdinfo.$1"; }
settle() { sleep 3; }

work() {
    phase=warm-up
    measure exec 20 /bin/busybox true
    measure pairs 5 /fixtures/hello.ko hello
    phase=$1
    for round in 1 2 3 4 5; do
        settle
        measure exec 80 /bin/busybox true
        settle
        measure pairs 20 /fixtures/hello.ko hello
    done
    settle
}
measure() { /actor "$@" >> /out/$phase.jsonl || exit 1; }

settle
work without
start || { echo "it did not start"; cat /out/subject.log; ps; exit 1; }
cpu ready
settle

cpu idle-before
sleep 30
cpu idle-after
memory idle
descriptors idle

work with
cpu pairs-before
phase=cpu
measure pairs 100 /fixtures/hello.ko hello
settle
cpu pairs-after

# From files that it has not seen yet, so that it has to read them.
for number in 1 2 3 4 5 6 7 8 9 10; do cp /fixtures/hello.ko /tmp/hello-$number.ko; done
wc -c < /fixtures/hello.ko > /out/size.hello
settle
cpu new-before
phase=new
for number in 1 2 3 4 5 6 7 8 9 10; do measure pairs 1 /tmp/hello-$number.ko hello; done
settle
cpu new-after

# In a run of its own: taking the time of each program costs something.
echo 1 > /proc/sys/kernel/bpf_stats_enabled
descriptors pairs-before
phase=bpf
measure pairs 50 /fixtures/hello.ko hello
settle
descriptors pairs-after
echo 0 > /proc/sys/kernel/bpf_stats_enabled

# As fast as requests come: the kernel finds no modprobe to wait for.
echo /nowhere > /proc/sys/kernel/modprobe
phase=flood
cpu flood-before
measure request 20000 9
settle
settle
cpu flood-after
memory flood
seen_loads > /out/seen.loads
seen_requests > /out/seen.requests
kill $pid
wait $pid

# Where the subject looks for modules that hide: hardly ever, and ten times.
if [ -d /many ]; then
    phase=many
    for module in /many/*.ko; do measure finit $module; done
    for interval in 1d 10s; do
        start
        settle
        cpu checks-$interval-before
        sleep 100
        cpu checks-$interval-after
        kill $pid
        wait $pid
    done
fi
