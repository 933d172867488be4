# What is wrong with the account of one run: a line of text each, nothing when all is right.
#
#   jq -rn -f account.jq --slurpfile made B.P.made --slurpfile events B.P.events --argjson lines '{"dup":9}' \
#       --argjson all 12 --arg backend B
#
# `lines` counts the right events by call, `all` every event. A call that was made and has no event must be in the ledger:
# lost, or (for the whole node) skipped by the kernel or with its return missed. Under `auto` the last two must be 0.

[$events[] | select(.kind == "ledger" and .final == true)] as $ledgers
| [$ledgers[] | select(.scope == "container")] as $containers
| [$ledgers[] | select(.scope == "node")] as $nodes
| ($made[0].made | add) as $calls
| ($lines | add) as $right
| if ($containers | length) != 1 or ($nodes | length) != 1 then
    "final ledger lines: \($containers | length) of a container and \($nodes | length) of the node instead of one each"
  else
    $containers[0] as $account
    | $nodes[0] as $node
    | ($account.lost.total + $account.sampled + $account.in_flight) as $accounted
    | ($calls - $right - $accounted) as $unaccounted
    | ($node.skipped + $node.missed_returns) as $unseen
    | (if $account.balanced then empty else "the ledger does not add up: \($account | tojson)" end),
      (if $account.emitted == $all then empty else "the ledger says emitted \($account.emitted), the output has \($all) events" end),
      (if $account.in_flight == 0 then empty else "the program is gone and \($account.in_flight) calls are in flight" end),
      (if $unaccounted >= 0 and $unaccounted <= $unseen then empty
       else "made \($made[0].made | tojson), right events \($lines | tojson): \($unaccounted) calls are in no account (lost \(
           $account.lost | tojson), node skipped \($node.skipped), missed_returns \($node.missed_returns))" end),
      (if $backend != "auto" then empty
       elif $unseen == 0 and $account.lost.return_missed == 0 and $unaccounted == 0 then empty
       else "auto picked a backend that is not exact: skipped \($node.skipped), missed_returns \($node.missed_returns), lost \(
           $account.lost | tojson), unaccounted \($unaccounted)" end)
  end
