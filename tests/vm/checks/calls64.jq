# What is wrong with the events of one calls64 run: a line of text each, nothing when all is right.
#
#   jq -rn -f calls64.jq --slurpfile made B.calls64.made --slurpfile events B.calls64.events --arg backend B

# Which hooks may serve a call under a backend that was asked for by name.
def hooks: {tracepoint: ["tp_btf", "tracepoint"], kprobe: ["kprobe", "kprobe_multi"], fentry: ["fentry"]};

# An argument as calls64 wrote it down, against the event's.
def shows($wanted):
    if $wanted == null then true
    elif ($wanted | type) == "number" then .int == $wanted
    elif ($wanted | type) == "string" then .str == $wanted
    elif $wanted.ptr then .ptr == $wanted.ptr
    else (.text | contains($wanted.has)) end;

def is($made):
    .name == $made.name and .ret == $made.ret
    and ([range($made.args | length) as $i | .args[$i] // {} | shows($made.args[$i])] | all);

def brief: {ret, args: [.args[]? | .int // .str // .ptr // .text]} | tojson;

[$events[] | select(.kind == "syscall")] as $syscalls
| ($made[]
    | . as $call
    | [$syscalls[].syscall | select(is($call))] as $found
    | if ($found | length) == 1 then empty
      elif ($found | length) > 1 then "\(.name) is there \($found | length) times: \($found[0] | brief)"
      else "\(.name) is missing: made \({ret, args} | tojson), seen of that name: \(
          [$syscalls[].syscall | select(.name == $call.name) | brief] | .[:3] | join(" "))" end),
  (if ([$made[].name] | unique | length) == 63 then empty
   else "calls64 made \([$made[].name] | unique | length) kinds of calls instead of 63" end),
  ([$syscalls[] | select(.syscall.name == "openat") | .probe] | unique) as $served
| if $backend == "auto" or ($served - hooks[$backend] == [] and $served != []) then empty
  else "openat was served by \($served | tojson) though backend \($backend) was asked for" end
