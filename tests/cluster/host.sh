#!/bin/bash
# Process 1 of a host made of namespaces: NAME ADDRESS SCRATCH AUTHORIZED_KEYS PYTHON_BIN FOLDER... Says "ready" when its sshd answers.
# Its root is an overlay of the machine's own root: what is installed here is installed there, and nothing written there is seen here.
set -eu
name=$1 address=$2 scratch=$3 keys=$4 python_bin=$5
shift 5

mount --make-rprivate /
hostname "$name"
mount -t tmpfs -o size=4g tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$scratch/root"
root=$scratch/root
# the overlay shows what / itself holds: each folder that is mounted from elsewhere needs one of its own
for folder in "$@"; do
  [ -z "$(ls -A "$root$folder" 2>/dev/null)" ] || continue
  changes=$(mktemp -d "$scratch/XXXXXX")
  mkdir -p "$changes/upper" "$changes/work" "$root$folder"
  mount -t overlay -o "lowerdir=$folder,upperdir=$changes/upper,workdir=$changes/work" overlay "$root$folder"
done
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o size=1g tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
[ ! -e /dev/ptmx ] || mount --bind "$root/dev/pts/ptmx" "$root/dev/ptmx"
mkdir -p "$root/tmp/ray"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp/ray"
mount -t tmpfs -o mode=755 tmpfs "$root/run"

# a home of its own: neither keys nor tokens of the machine's root
mkdir -p "$root/home/host/.ssh" "$root/run/sshd" "$root/mnt/machine"
cp "$keys"/* "$root/home/host/.ssh/"
chmod 700 "$root/home/host" "$root/home/host/.ssh"
chmod 600 "$root/home/host/.ssh/"*
sed -i 's#^root:\([^:]*\):0:0:\([^:]*\):[^:]*:.*#root:\1:0:0:\2:/home/host:/bin/bash#' "$root/etc/passwd"
printf '127.0.0.1 localhost\n%s %s\n' "$address" "$name" > "$root/etc/hosts"
# as on an image that people use: a login shell finds Python
echo "export PATH=$python_bin:/usr/sbin:/usr/bin:/sbin:/bin" > "$root/home/host/.bashrc"

cd "$root"
pivot_root . mnt/machine
cd /
umount -l /mnt/machine
export HOME=/home/host PATH=/usr/sbin:/usr/bin:/sbin:/bin
until ip -4 address show eth0 2>/dev/null | grep -q "$address"; do sleep 0.05; done
ssh-keygen -q -t ed25519 -N '' -f /run/host_key
/usr/sbin/sshd -E /run/sshd.log -f /dev/null -h /run/host_key -o ListenAddress="$address" -o PermitRootLogin=prohibit-password \
  -o PasswordAuthentication=no -o MaxStartups=50 -o PidFile=/run/sshd.pid
echo ready
while :; do sleep 1000 & wait -n || true; done  # bash as process 1 takes in orphans
