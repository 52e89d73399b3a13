# auditd as its own rules file 43-module-load.rules wants it for modules; its log is a file, written as its default configuration does.
start() {
    # Not on the root: it is no file system with free space, and auditd asks for some.
    log=/tmp/audit/audit.log
    mkdir -p ${log%/*} /run /var/run /etc/audit
    echo 'root:x:0:0:root:/:/bin/sh' > /etc/passwd
    echo 'root:x:0:' > /etc/group
    cat > /etc/audit/auditd.conf << END
local_events = yes
write_logs = yes
log_file = $log
log_group = root
log_format = ENRICHED
flush = INCREMENTAL_ASYNC
freq = 50
num_logs = 5
max_log_file = 100
max_log_file_action = ROTATE
space_left = 20
space_left_action = SYSLOG
admin_space_left = 10
admin_space_left_action = SUSPEND
END
    chmod 640 /etc/audit/auditd.conf
    cat > /etc/audit/module-load.rules << END
-a always,exit -F arch=b32 -S init_module,finit_module -F key=module-load
-a always,exit -F arch=b64 -S init_module,finit_module -F key=module-load
-a always,exit -F arch=b32 -S delete_module -F key=module-unload
-a always,exit -F arch=b64 -S delete_module -F key=module-unload
END
    chmod 640 /etc/audit/module-load.rules
    # It says there why it ends.
    /actor notified /dev/log /out/syslog &
    subject /sbin/auditd -n
    /actor wait-for $log DAEMON_START 1 60 || return 1
    (echo 0 > $group/cgroup.procs; exec /sbin/auditctl -R /etc/audit/module-load.rules) > /out/auditctl.log 2>&1
}
seen_loads() { /actor count $log type=SYSCALL 'key="module-load"'; }
# It has no record for them.
seen_requests() { echo 0; }
