# What is wrong with the events of `kubeward trace --host -- runc run`, whose container prints /marker: a line of text each.

[$events[] | select(.kind == "syscall")] as $syscalls
| [$syscalls[] | select(.syscall.name == "openat" and any(.syscall.args[]; .str == "/marker"))] as $opened
| [$syscalls[] | select(.syscall.name == "execve" and .syscall.ret == 0 and any(.syscall.args[]; .str == "/bin/cat"))] as $started
| (if ($started | length) == 1 then empty else "execve of the container's /bin/cat is there \($started | length) times" end),
  (if ($opened | length) == 1 then empty else "openat of the container's /marker is there \($opened | length) times" end),
  ($opened[] | if .syscall.ret >= 3 and .syscall.duration_ns > 0 and .process.container_pid == 1 then empty
   else "openat of /marker is not right: \(tojson)" end),
  ([$events[] | select(.kind == "ledger" and (.balanced | not))]
   | if length == 0 then empty else "a ledger line does not add up: \(.[0] | tojson)" end)
