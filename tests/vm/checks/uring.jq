# What is wrong with how operations through io_uring were seen: a line of text each, nothing when all is right.
#
#   jq -rn -f uring.jq --rawfile made uring.W.made --slurpfile events uring.W.events
#
# `made` has a line for each operation, as the witness prints it: `OPCODE CALL = RESULT` and the path of an opened file.

def line: .syscall
    | .io_uring.opcode
      + (if .io_uring.fixed_file then " fixed" else "" end)
      + (if .io_uring.direct then " direct" else "" end)
      + " \(.name)(\([.args[].text] | join(", "))) = \(.ret // "?")"
      + (if .error then " \(.error)" else "" end)
      + (if .path then " PATH \(.path)" else "" end);

[$made | split("\n")[] | select(. != "" and (startswith("NOP") or startswith("ASYNC_CANCEL") | not))] as $made
| [$events[] | select(.kind == "syscall" and .syscall.via == "io_uring") | line] as $seen
| [$events[] | select(.kind == "ledger" and .final == true and .scope == "container")] as $accounts
| (if $made == [] then "the witness made nothing" else empty end),
  # One by one: the same operation may have been made several times.
  ([$made[], $seen[]] | unique[]
    | . as $line
    | ([$made[] | select(. == $line)] | length) as $times
    | ([$seen[] | select(. == $line)] | length) as $seen
    | if $times == $seen then empty else "made \($times) times, seen \($seen): \($line)" end),
  ($accounts[]
    | if .balanced and .in_flight == 0 and .lost.total == 0 then empty else "the account: \(tojson)" end),
  (if ($accounts | length) == 1 then empty else "\($accounts | length) accounts instead of one" end)
