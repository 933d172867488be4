# What is wrong with the events of `kubeward agent` beside containerd, while `ctr run` ran the container `watched-by-agent`
# that prints /marker: a line of text each.

[$events[] | select(.kind == "syscall")] as $syscalls
| [$syscalls[] | select(.syscall.name == "openat" and any(.syscall.args[]; .str == "/marker"))] as $opened
| [$syscalls[] | select(.syscall.name == "execve" and any(.syscall.args[]; .str == "/bin/cat"))] as $started
| (if ($started | length) == 1 then empty else "execve of the container's /bin/cat is there \($started | length) times" end),
  (if ($opened | length) == 1 then empty else "openat of the container's /marker is there \($opened | length) times" end),
  ($syscalls[] | select(.container.id != "watched-by-agent" or .container.image != "docker.io/library/watched:1")
   | "an event of another container, or without its name and image: \({container, syscall: .syscall.name} | tojson)"),
  ([$events[] | select(.kind == "container") | .container.id // .id] | unique
   | if index("watched-by-agent") then empty else "no container line of watched-by-agent, only of \(tojson)" end),
  ([$events[] | select(.kind == "ledger" and (.balanced | not))]
   | if length == 0 then empty else "a ledger line does not add up: \(.[0] | tojson)" end)
