# bpftrace with one line for each load, unload and request.
start() {
    cat > /tmp/modules.bt << 'END'
BEGIN { printf("ready\n"); }
kprobe:do_init_module { printf("%s %d load %s\n", comm, pid, ((struct module *)arg0)->name); }
kprobe:free_module { printf("%s %d unload %s\n", comm, pid, ((struct module *)arg0)->name); }
kprobe:security_kernel_module_request { printf("%s %d request %s\n", comm, pid, str(arg0)); }
END
    # Not `-o FILE`: it writes there when its buffer is full.
    subject sh -c 'exec /usr/bin/bpftrace -B line /tmp/modules.bt > /out/bpftrace.out'
    /actor wait-for /out/bpftrace.out ready 1 600
}
seen_loads() { /actor count /out/bpftrace.out ' load hello'; }
seen_requests() { /actor count /out/bpftrace.out ' request '; }
