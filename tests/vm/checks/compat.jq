# What is wrong with the events of one compat run: a line of text each, nothing when all is right.
#
#   jq -rn -f compat.jq --slurpfile made B.compat.made --slurpfile events B.compat.events --arg backend B

# Which hooks may serve a call under a backend that was asked for by name.
def hooks: {tracepoint: ["tp_btf", "tracepoint"], kprobe: ["kprobe", "kprobe_multi"], fentry: ["fentry"]};

# Arguments as compat wrote them down, null where it says nothing.
def show($wanted):
    [.[] | "\(.name)=\(.text)"] as $args
    | ($args | length) == ($wanted | length)
    and ([range($wanted | length) as $i | $wanted[$i] == null or $wanted[$i] == $args[$i]] | all);

def is($made):
    .name == $made.name and .nr == $made.nr and .via == $made.via and .ret == $made.ret and (.args | show($made.args));

def brief: {nr, via, ret, args: [.args[]? | "\(.name)=\(.text)"]} | tojson;

[$events[] | select(.kind == "syscall")] as $all
| [$all[].syscall] as $syscalls
| ($made[]
    | . as $call
    | [$syscalls[] | select(is($call))] as $found
    | if ($found | length) == 1 then empty
      elif ($found | length) > 1 then "\(.name) (\(.nr)) is there \($found | length) times"
      else "\(.name) (\(.nr)) is missing: made \({ret, args} | tojson), seen of that name: \(
          [$syscalls[] | select(.name == $call.name) | brief] | .[:4] | join(" "))" end),
  (if ($made | length) == 30 then empty else "compat made \($made | length) calls instead of 30" end),
  ([$syscalls[] | select(.via == "compat")] | length) as $seen
| ([$made[] | select(.via == "compat")] | length) as $wanted
| (if $seen == $wanted then empty else "\($seen) calls came by the 32-bit table, not \($wanted)" end),
  ([$all[] | select(.syscall.via == "compat" and (.syscall.name | IN("open", "stat", "connect", "semctl"))) | .probe] | unique) as $served
| if $backend == "auto" or ($served - hooks[$backend] == [] and $served != []) then empty
  else "32-bit calls were served by \($served | tojson) though backend \($backend) was asked for" end
