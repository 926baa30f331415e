#!/usr/bin/env bash
# Train in several processes under torchrun, on one machine or on several:
#   scripts/torchrun.sh --config imagenet1k_tiny                                           # all GPUs of this machine
#   NODES=2 NODE_RANK=0 MASTER_ADDR=first-machine scripts/torchrun.sh --config ...         # on the first of two
#   NODES=2 NODE_RANK=1 MASTER_ADDR=first-machine scripts/torchrun.sh --config ...         # on the second
# PROCESSES     on this machine (default: one for each GPU, else 1)
# MASTER_PORT   free on the first machine (default: 29500)
# PYTHON        the interpreter (default: python)
# TORCHRUN      further options of torchrun, such as --shutdown-timeout=120
# All arguments go to "python -m biformer_lit fit".
set -euo pipefail

python="${PYTHON:-python}"
nodes="${NODES:-1}"
processes="${PROCESSES:-$("$python" -c 'import torch; print(max(1, torch.cuda.device_count()))')}"

refuse() {
  echo "error: $1" >&2
  exit 2
}
for name in nodes processes; do
  [[ "${!name}" =~ ^[1-9][0-9]*$ ]] || refuse "${name^^}=${!name} must be a number above 0"
done
rank="${NODE_RANK:-0}"
[[ "$rank" =~ ^[0-9]+$ ]] && ((rank < nodes)) || refuse "NODE_RANK=$rank must be a number from 0 to $((nodes - 1)), another on each machine"
if ((nodes > 1)) && [[ -z "${NODE_RANK:-}" || -z "${MASTER_ADDR:-}" ]]; then
  refuse "NODES=$nodes needs NODE_RANK (0 on the first machine) and MASTER_ADDR (the first machine's name); set both"
fi
[[ "${MASTER_PORT:-29500}" =~ ^[0-9]+$ ]] || refuse "MASTER_PORT=$MASTER_PORT must be a number; leave it out for 29500"

given=("$@")
[[ " $* " == *" --trainer.strategy"* ]] || given+=(--trainer.strategy ddp)
# torchrun takes this shell's place, and its process number; the processes it starts end with it, even by kill -9
export BIFORMER_LIT_DIES_WITH=$$
# shellcheck disable=SC2086 # several options
exec "$python" -m torch.distributed.run ${TORCHRUN:-} --nnodes "$nodes" --node-rank "$rank" --nproc-per-node "$processes" \
  --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${MASTER_PORT:-29500}" \
  -m biformer_lit fit "${given[@]}" --trainer.num_nodes "$nodes" --trainer.devices "$processes"
