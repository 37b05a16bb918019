"""Command lines of operators and what they do: hosts, networks, clouds, services, disks.

Each row says what a person who knows the manual would say, as a set of operations. The programs of
one subject stand together; a line that only looks stands next to the one that does not.
"""

import shlex

import pytest

from policy.footprint import footprint
from policy.model import Context, Exec

WORKSPACE = "/home/dev/work"
CONTEXT = Context(workspace=WORKSPACE, home="/home/dev", user="dev", host="builder")

PROCESSES_AND_MACHINE = [
    ("ps -eo pid,cmd --sort=-rss", "sys.inspect"),
    ("ps ax e", "credential.read sys.inspect"),
    ("pidstat -e python3 x.py", "code.exec sys.inspect"),
    ("sar -u 1 3", "sys.inspect"),
    ("sar -f /var/log/sysstat/sa01", "fs.read sys.inspect"),
    ("atop -w out.raw", "fs.write sys.inspect"),
    ("pmap -n 1", "fs.write proc.inspect"),
    ("fuser -k 80/tcp", "fs.list proc.inspect proc.signal"),
    ("glances -w", "net.listen sys.inspect"),
    ("lastlog -C -u dev", "audit.tamper sys.inspect"),
    ("last -f /var/log/wtmp", "fs.read sys.inspect"),
    ("who am i", "sys.inspect"),
    ("finger dev@example.com", "net.connect sys.inspect"),
    ("dmesg -n 1", "sys.control sys.inspect"),
    ("lshw -dump x", "fs.write sys.inspect"),
    ("inxi -w", "net.connect sys.inspect"),
    ("setpci -s 0:1 40.b", "sys.inspect"),
    ("setpci -s 0:1 40.b=1", "sys.control sys.inspect"),
    ("sensors -s", "sys.control sys.inspect"),
    ("nvidia-smi -L", "sys.inspect"),
    ("dmidecode --dump-bin x", "fs.write sys.inspect"),
    ("xrandr", "sys.inspect"),
    ("xrandr --output A --off", "sys.control"),
    ("mokutil --sb-state", "sys.inspect"),
    ("mokutil --disable-validation", "sys.control sys.inspect"),
    ("numactl --membind=0 rm x", "fs.delete"),
]

NETWORK_SETTINGS = [
    ("ip -br addr", "sys.inspect"),
    ("ip route add default via 192.0.2.1", "sys.control"),
    ("ip -b cmds", "fs.read sys.control"),
    ("ifconfig eth0", "sys.inspect"),
    ("ifconfig eth0 down", "sys.control sys.inspect"),
    ("route -n", "sys.inspect"),
    ("route del default", "sys.control sys.inspect"),
    ("arp -a", "sys.inspect"),
    ("arp -f table", "fs.read sys.control sys.inspect"),
    ("ethtool -S eth0", "sys.inspect"),
    ("ethtool -K eth0 tso off", "sys.control sys.inspect"),
    ("tc qdisc show", "sys.inspect"),
    ("tc qdisc add dev eth0 root netem", "sys.control"),
    ("iw dev wlan0 link", "sys.inspect"),
    ("iw reg set DE", "sys.control sys.inspect"),
    ("nft list ruleset", "sys.inspect"),
    ("nft flush ruleset", "sys.control"),
    ("iptables-save", "sys.inspect"),
    ("iptables -t nat -L -Z", "sys.control sys.inspect"),
    ("conntrack -L", "sys.inspect"),
    ("conntrack -F", "sys.control"),
    ("ufw status verbose", "sys.inspect"),
    ("firewall-cmd --list-all", "sys.inspect"),
    ("firewall-cmd --add-port=1/tcp", "sys.control"),
    ("nmcli device status", "sys.inspect"),
    ("nmcli -s connection show x", "credential.read sys.inspect"),
    ("nmcli connection delete x", "sys.control"),
    ("resolvectl query example.com", "net.connect"),
    ("resolvectl dns eth0 192.0.2.53", "sys.control sys.inspect"),
    ("wg show", "sys.inspect"),
    ("wg showconf wg0", "credential.read"),
]

NETWORK = [
    ("curl -F 'x=@a.pdf;type=application/pdf' https://example.com", "fs.read net.connect"),
    ("curl -F 'x=<a.txt' https://example.com", "fs.read net.connect"),
    ("curl --data-urlencode n@a.txt https://example.com", "fs.read net.connect"),
    ("curl -n https://example.com", "credential.read net.connect"),
    ("curl --unix-socket /var/run/docker.sock http://x/y", "container.exec net.connect"),
    ("wget -i urls.txt", "fs.read fs.write net.connect"),
    ("http POST example.com f@a.txt", "fs.read net.connect"),
    ("http -d https://example.com", "fs.write net.connect"),
    ("aria2c --on-download-complete=./x https://example.com", "code.exec fs.write net.connect"),
    ("yt-dlp --cookies-from-browser firefox https://x", "credential.read fs.write net.connect"),
    ("w3m -dump notes.html", "net.connect"),
    ("w3m -dump ./notes.html", "fs.read net.connect"),
    ("ncat --exec ./x -l 1", "code.exec net.connect net.listen"),
    ("socat TCP-LISTEN:1 FILE:x", "fs.read fs.write net.listen"),
    ("dig +short example.com", "net.connect"),
    ("nmap -iL hosts example.com", "fs.read net.connect"),
    ("nmap --script=x example.com", "code.exec net.connect"),
    ("tcpdump -r a.pcap", "fs.read"),
    ("tcpdump -w a.pcap", "fs.write net.listen sys.inspect"),
    ("tcpdump -r a.pcap -z ./x", "code.exec fs.read"),
    ("rpcinfo", "sys.inspect"),
    ("rpcinfo -d 1 1", "service.control"),
    ("mutt -a a.pdf -- x@example.com", "fs.read net.connect"),
]

REMOTE = [
    ("ssh -o ConnectTimeout=5 host uptime", "net.connect remote.exec sys.inspect"),
    ("ssh -o 'ProxyCommand=nc a 1' host", "code.exec net.connect remote.exec"),
    ("ssh -o proxycommand=./x host", "code.exec net.connect remote.exec"),
    ("ssh -V", ""),
    ("rsync -avn src/ out/", "fs.read fs.write"),
    ("rsync -e ./x a b", "code.exec fs.read fs.write"),
    ("ssh-keygen -lf key.pub", "fs.read"),
    ("ssh-keygen -R host", "fs.write"),
    ("ssh-keygen -t ed25519", "fs.write"),
    ("ssh-add -l", "sys.inspect"),
    ("ssh-add -D", "credential.read"),
    ("ansible-playbook --syntax-check site.yml", "code.exec"),
    ("ansible-playbook site.yml", "code.exec net.connect remote.exec"),
    ("ansible-vault view x.yml", "credential.read"),
]

CLOUDS = [
    ("aws ec2 describe-instances", "net.connect"),
    ("aws iam get-role --role-name x", "net.connect"),
    ("aws secretsmanager get-secret-value --secret-id x", "credential.read net.connect"),
    ("aws ssm get-parameter --name x --with-decryption", "credential.read net.connect"),
    ("aws ec2 get-password-data --instance-id x", "credential.read net.connect"),
    ("aws s3 presign s3://b/k", "credential.read"),
    ("aws s3 cp a.txt s3://b/k", "cloud.mutate fs.read net.connect"),
    ("aws configure set region x", "persistence"),
    ("gcloud compute instances describe web", "net.connect"),
    ("gcloud compute instances stop web", "cloud.mutate net.connect"),
    ("gcloud beta run services list", "net.connect"),
    ("gcloud secrets versions access 1 --secret=x", "credential.read net.connect"),
    ("gcloud compute ssh web", "net.connect remote.exec"),
    ("az vm show -n web", "net.connect"),
    ("az storage account keys list", "credential.read net.connect"),
    ("az group delete -n x", "cloud.mutate net.connect"),
    ("doctl compute droplet list", "net.connect"),
    ("heroku config", "credential.read net.connect"),
    ("fly deploy", "cloud.mutate net.connect"),
    ("terraform state list", "sys.inspect"),
    ("terraform state pull", "credential.read sys.inspect"),
    ("terraform destroy", "cloud.mutate code.exec net.connect"),
    ("pulumi config get x", "credential.read"),
    ("rclone copy a.txt remote:x", "cloud.mutate fs.read net.connect"),
    ("restic snapshots", "net.connect"),
    ("promtool check config x.yml", "fs.read sys.inspect"),
]

CONTAINERS = [
    ("docker logs --tail 5 -f web", "sys.inspect"),
    ("docker image rm x", "container.exec"),
    ("docker system df", "sys.inspect"),
    ("docker run --privileged alpine id", "container.exec privilege.escalate sys.inspect"),
    ("docker run -v data:/d alpine ls", "container.exec fs.list"),
    ("docker run -v ./d:/d:ro alpine ls", "container.exec fs.list fs.read"),
    ("docker run --mount type=bind,src=./d x ls", "container.exec fs.delete fs.list fs.write"),
    ("docker login -u me registry.example.com", "net.connect persistence"),
    ("docker cp web:/a b", "container.exec fs.write"),
    ("docker build -f D --secret id=x .", "container.exec fs.read net.connect"),
    ("docker compose up", "container.exec"),
    ("docker compose config -o x", "fs.write sys.inspect"),
    ("docker -H tcp://h ps", "net.connect sys.inspect"),
    ("kubectl get deploy/web -o yaml", "sys.inspect"),
    ("kubectl get SECRETS", "credential.read sys.inspect"),
    ("kubectl get -A pod,secret", "credential.read sys.inspect"),
    ("kubectl describe secret/x", "credential.read sys.inspect"),
    ("kubectl get --raw /api/v1/secrets", "credential.read sys.inspect"),
    ("kubectl config view", "sys.inspect"),
    ("kubectl config view --raw", "credential.read sys.inspect"),
    ("kubectl cp web:/a b", "container.exec fs.write"),
    ("kubectl port-forward web 1", "cloud.mutate net.listen"),
    ("kubectl auth can-i get pods", "sys.inspect"),
    ("kubectl create token x", "cloud.mutate credential.read"),
    ("kubectl --token x get pods", "privilege.escalate sys.inspect"),
    ("helm get values web", "credential.read sys.inspect"),
    ("helm template ./chart", "fs.list sys.inspect"),
    ("helm show chart oci://example.com/c", "fs.list net.connect sys.inspect"),
    ("helm template ./chart --post-renderer ./x", "code.exec fs.list sys.inspect"),
    ("qemu-img info a.img", "fs.read"),
    ("qemu-img create a.img 1G", "fs.write"),
    ("virsh list --all", "sys.inspect"),
    ("vagrant ssh -c 'rm x'", "code.exec container.exec fs.delete"),
]

SERVICES = [
    ("systemctl list-timers", "sys.inspect"),
    ("systemctl -H host status", "net.connect sys.inspect"),
    ("systemctl stop auditd", "audit.tamper"),
    ("systemctl disable nginx", "persistence service.control"),
    ("service nginx status", "sys.inspect"),
    ("service ../../bin/sh", "code.exec service.control"),
    ("hostnamectl", "sys.inspect"),
    ("timedatectl set-ntp false", "sys.control"),
    ("loginctl terminate-user dev", "sys.control"),
    ("coredumpctl info", "sys.inspect"),
    ("coredumpctl dump -o core", "credential.read fs.write sys.inspect"),
    ("udevadm info -q all -n /dev/sda", "sys.inspect"),
    ("udevadm trigger", "sys.control"),
    ("busctl call a b c d", "sys.control"),
    ("systemd-analyze blame", "sys.inspect"),
    ("systemd-analyze log-level debug", "sys.control sys.inspect"),
    ("auditctl -l", "sys.inspect"),
    ("auditctl -D", "audit.tamper sys.inspect"),
    ("crontab -l", "sys.inspect"),
    ("at -c 3", "credential.read"),
    ("nginx -t", "sys.inspect"),
    ("nginx -s stop", "service.control"),
    ("haproxy -c -f x.cfg", "fs.read sys.inspect"),
    ("postconf -n", "sys.inspect"),
    ("postconf -e a=b", "persistence service.control sys.inspect"),
    ("postqueue -f", "service.control sys.inspect"),
    ("supervisorctl status", "sys.inspect"),
    ("chronyc sources", "sys.inspect"),
    ("chronyc makestep", "sys.control"),
]

DISKS_AND_KERNEL = [
    ("mount -l", "sys.inspect"),
    ("mount -o remount /", "sys.control sys.inspect"),
    ("swapon --show", "sys.inspect"),
    ("losetup -d /dev/loop0", "sys.control sys.inspect"),
    ("mkfs.ext4 disk.img", "fs.write"),
    ("mkfs.ext4 /dev/sdb", "device.write"),
    ("fdisk -l /dev/sda", "sys.inspect"),
    ("fdisk /dev/sda", "device.write"),
    ("parted /dev/sda print", "sys.inspect"),
    ("parted -s /dev/sda mklabel gpt", "device.write"),
    ("mdadm --detail /dev/md0", "sys.inspect"),
    ("mdadm --zero-superblock /dev/sda1", "device.write sys.control"),
    ("hdparm -I /dev/sda", "fs.list sys.inspect"),
    ("hdparm -Y /dev/sda", "fs.list sys.control sys.inspect"),
    ("smartctl -t short /dev/sda", "fs.list sys.control sys.inspect"),
    ("blockdev --getsz /dev/sda", "fs.list sys.inspect"),
    ("blockdev --setro /dev/sda", "fs.list sys.control sys.inspect"),
    ("zpool status", "sys.inspect"),
    ("zfs destroy tank", "device.write"),
    ("btrfs subvolume delete x", "sys.control"),
    ("cryptsetup luksDump --dump-master-key /dev/sda", "credential.read sys.inspect"),
    ("lvm lvs", "sys.inspect"),
    ("sysctl -n kernel.x", "sys.inspect"),
    ("sysctl /../../etc/shadow", "fs.read sys.inspect"),
    ("sysctl -p x.conf", "fs.read sys.control"),
    ("modprobe -n vfat", "sys.inspect"),
    ("modprobe vfat", "sys.control"),
    ("hwclock -r", "sys.inspect"),
    ("hwclock -r -w", "sys.control sys.inspect"),
    ("pkill rsyslogd", "audit.tamper proc.signal"),
    ("passwd -S", "sys.inspect"),
    ("passwd -S -d dev", "sys.control sys.inspect"),
    ("chage -l dev", "sys.inspect"),
    ("faillock --reset --user dev", "sys.control sys.inspect"),
]

PACKAGES_AND_SECRETS = [
    ("apt-get -s install nginx", "sys.inspect"),
    ("apt -o a=b list", "code.exec sys.inspect"),
    ("dpkg -l -P x", "pkg.install sys.inspect"),
    ("dpkg -x a.deb out", "fs.read fs.write"),
    ("dnf info nginx", "sys.inspect"),
    ("rpm -qp x.rpm", "fs.read sys.inspect"),
    ("rpm -q -U x.rpm", "pkg.install sys.inspect"),
    ("pacman -Qi bash", "sys.inspect"),
    ("pacman -Syu", "net.connect pkg.install"),
    ("xbps-install -Syu", "net.connect pkg.install"),
    ("snap list", "sys.inspect"),
    ("brew services list", "sys.inspect"),
    ("brew services stop x", "persistence service.control"),
    ("nix-env -q -e x", "pkg.install sys.inspect"),
    ("openssl x509 -in a.crt -noout -text", "fs.list"),
    ("openssl req -in a.csr -config x.cnf", "code.exec fs.read"),
    ("openssl s_client -connect example.com:443", "net.connect"),
    ("openssl rsa -in a.key -pubout", "fs.list"),
    ("openssl rsa -in a.key -pubout -text", "credential.read fs.list"),
    ("openssl enc -pass file:a.txt -in b", "fs.read"),
    ("gpg --verify a.sig a", "fs.read"),
    ("gpg --recv-keys AB", "net.connect persistence"),
    ("gpg --export-secret-keys", "credential.read"),
    ("gpg --list-keys -d a.gpg", "credential.read fs.read"),
    ("age -d -i k a.age", "credential.read fs.read"),
    ("pass ls", "sys.inspect"),
    ("pass mail/x", "credential.read"),
    ("op run -- ./x.sh", "code.exec credential.read"),
    ("vault kv get x", "credential.read"),
    ("keyctl show", "sys.inspect"),
]

TABLE = [
    *PROCESSES_AND_MACHINE,
    *NETWORK_SETTINGS,
    *NETWORK,
    *REMOTE,
    *CLOUDS,
    *CONTAINERS,
    *SERVICES,
    *DISKS_AND_KERNEL,
    *PACKAGES_AND_SECRETS,
]


def operations_of(line):
    action = Exec(command=None, argv=tuple(shlex.split(line)), cwd=WORKSPACE)
    return {access.operation for access in footprint(action, CONTEXT).accesses}


@pytest.mark.threat("T02")
@pytest.mark.parametrize(("line", "expected"), TABLE)
def test_a_command_line_does_what_the_manual_says(line, expected):
    assert operations_of(line) == set(expected.split())


# An inspection program with one option that writes, sets, clears, sends or runs: the option may
# stand anywhere among the others, and no other option makes it less.

LOOKS = [
    ("ss -tlnp", "-K", "sys.control"),
    ("dmesg -T", "-C", "audit.tamper"),
    ("journalctl -u x", "--vacuum-size=1M", "audit.tamper"),
    ("journalctl -b", "--rotate", "audit.tamper"),
    ("iptables -L -n", "-F", "sys.control"),
    ("conntrack -L", "-F", "sys.control"),
    ("fdisk -l", "--delete", "device.write"),
    ("mdadm --detail /dev/md0", "--stop", "device.write"),
    ("rpm -qa", "-e", "pkg.install"),
    ("rpm -qa", "--rebuilddb", "pkg.install"),
    ("dpkg -l", "-P", "pkg.install"),
    ("pacman -Q", "-R", "pkg.install"),
    ("passwd -S", "-d", "sys.control"),
    ("chage -l dev", "-E0", "sys.control"),
    ("hwclock -r", "-w", "sys.control"),
    ("lastlog -u dev", "-C", "audit.tamper"),
    ("utmpdump /var/log/wtmp", "-r", "audit.tamper"),
    ("smartctl -a /dev/sda", "-toffline", "sys.control"),
    ("blkid /dev/sda", "-g", "fs.write"),
    ("sensors -u", "-s", "sys.control"),
    ("ethtool eth0", "-r", "sys.control"),
    ("auditctl -l", "-e0", "audit.tamper"),
    ("firewall-cmd --state", "--panic-on", "sys.control"),
    ("gpg --list-keys", "-d", "credential.read"),
    ("nvidia-smi -q", "-pl", "sys.control"),
    ("update-alternatives --list x", "--auto", "pkg.install"),
    ("kubectl config view", "--raw", "credential.read"),
    ("faillock --user dev", "--reset", "sys.control"),
    ("hdparm -I /dev/sda", "-y", "sys.control"),
    ("ssh-add -l", "-D", "credential.read"),
    ("nmcli connection show x", "-s", "credential.read"),
    ("wmctrl -l", "-c", "sys.control"),
]


@pytest.mark.threat("T02")
@pytest.mark.parametrize(("look", "option", "operation"), LOOKS)
def test_one_option_that_changes_makes_a_look_a_change(look, option, operation):
    assert operation not in operations_of(look)
    assert operation in operations_of(f"{look} {option}")


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    "line",
    [
        "kubectl get secret x -o name",
        "kubectl get pods secret/x",
        "kubectl -n kube-system get secrets",
        "kubectl get all,secrets",
        "oc get Secret",
        "k describe secrets/x",
    ],
)
def test_a_secret_of_a_cluster_is_one_wherever_it_stands(line):
    assert "credential.read" in operations_of(line)


@pytest.mark.threat("T02")
@pytest.mark.parametrize("value", ["ProxyCommand=x", "proxycommand x", "LocalCommand=x"])
@pytest.mark.parametrize("program", ["ssh host", "scp a host:b", "sftp host"])
def test_a_setting_of_ssh_that_names_a_program_runs_it(program, value):
    name, _, rest = program.partition(" ")
    assert "code.exec" in operations_of(f"{name} -o '{value}' {rest}")
