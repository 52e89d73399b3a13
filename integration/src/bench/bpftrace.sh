# bpftrace with one line for each load, unload and request.
start() {
    cat > /tmp/modules.bt << 'END'
BEGIN { printf("ready\n"); }
kprobe:do_init_module { printf("%s %d load %s\n", comm, pid, str(((struct module *)arg0)->name)); }
kprobe:free_module { printf("%s %d unload %s\n", comm, pid, str(((struct module *)arg0)->name)); }
kprobe:security_kernel_module_request { printf("%s %d request %s\n", comm, pid, str(arg0)); }
END
    subject /usr/bin/bpftrace -B line -o /tmp/bpftrace.out /tmp/modules.bt
    /actor wait-for /tmp/bpftrace.out ready 1 600
}
seen_loads() { /actor count /tmp/bpftrace.out ' load hello'; }
seen_requests() { /actor count /tmp/bpftrace.out ' request '; }
