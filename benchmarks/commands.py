"""The command lines that are timed: what agents run all day, and text made to be slow.

May touch: nothing. Our own lines, of every length and construct; not a test of any decision.
"""

HOSTILE_BYTES = 16 << 10

COMMANDS = r"""
ls
ls -la
ls -la src tests
pwd
cat README.md
cat pyproject.toml setup.cfg
head -n 40 src/app.py
tail -n 100 logs/server.log
tail -f logs/server.log
wc -l src/*.py
file build/out.bin
stat -c '%s %n' data.csv
du -sh node_modules
df -h
tree -L 2 -I node_modules
find . -name '*.py'
find src -type f -name '*.ts' -newer package.json
find . -name '*.log' -mtime +7 -delete
find . -type f -exec grep -l TODO {} +
grep -rn "def main" src
grep -rniE 'error|warning' logs | head -50
grep -c processor /proc/cpuinfo
rg --files -g '*.rs'
rg -n 'unsafe \{' crates
sed -n '10,40p' src/app.py
sed -i 's/foo/bar/g' src/app.py
sed -e 's/a/b/' -e '/^#/d' config.ini
awk '{print $1}' access.log
awk -F: '$3 >= 1000 {print $1}' /etc/passwd
awk 'NR==FNR {a[$1]; next} $2 in a' one.txt two.txt
sort -u names.txt
sort -t, -k2,2n data.csv | uniq -c | sort -rn | head
cut -d, -f1,3 data.csv
tr -s ' ' < table.txt
diff -u old.txt new.txt
cmp one.bin two.bin
comm -12 a.sorted b.sorted
md5sum *.iso
sha256sum dist/app.tar.gz
jq '.dependencies | keys' package.json
jq -r '.[] | select(.age > 30) | .name' people.json
yq '.services.web.image' compose.yaml
python -m pytest
python -m pytest -q tests/test_api.py -k 'login and not slow'
python3 -c 'import sys; print(sys.version)'
python manage.py migrate --plan
python -m http.server 8000
python scripts/build.py --out dist --verbose
pip install -r requirements.txt
pip install --upgrade 'httpx>=0.27'
pip list --outdated
uv sync
uv run pytest -x
ruff check . --fix
ruff format --check src
mypy src --strict
black src tests
node index.js
node -e 'console.log(process.version)'
npm ci
npm install --save-dev eslint
npm test -- --watch=false
npm run build
npx prettier --write 'src/**/*.ts'
yarn add react
pnpm install --frozen-lockfile
tsc --noEmit
eslint src --ext .ts,.tsx
cargo build --release
cargo test --workspace -- --nocapture
cargo clippy --all-targets
rustc --version
go build ./...
go test ./... -run TestServer -count=1
go vet ./internal/...
make
make -j4 test
cmake -S . -B build -DCMAKE_BUILD_TYPE=Release
gcc -O2 -Wall -o app main.c util.c -lm
mvn -q test
./gradlew build --no-daemon
git status
git status --short --branch
git diff
git diff --stat HEAD~3
git log --oneline -n 20
git log --since='2 weeks ago' --author=alice --pretty=format:'%h %s'
git show HEAD:src/app.py
git blame -L 10,30 src/app.py
git branch -a
git checkout -b feature/login
git add -A
git commit -m "Fix the login redirect"
git commit --amend --no-edit
git push origin main
git push --force-with-lease
git pull --rebase
git fetch --all --prune
git stash
git reset --hard HEAD~1
git clean -fdx
git rebase -i HEAD~3
git tag -a v1.2.0 -m 'Release 1.2.0'
git rev-parse --show-toplevel
git ls-files '*.py'
git config user.email
git -C ../other log -1
docker ps -a
docker logs --tail 100 web
docker compose up -d
docker build -t app:latest .
docker run --rm -v "$PWD":/w -w /w node:20 npm test
docker exec -it web sh
kubectl get pods -n staging
kubectl logs deploy/web --since=10m
kubectl apply -f k8s/
helm list -A
terraform plan -out plan.bin
aws s3 ls s3://bucket/prefix/
gh pr view 12 --json title,body
ps aux
ps -eo pid,ppid,cmd --sort=-%mem
top -b -n 1
free -m
uptime
uname -a
id
whoami
env
printenv PATH
which python3
lsof -i :8080
ss -tlnp
ip addr show
ping -c 3 example.org
dig +short example.org
curl -s https://example.org/api/health
curl -fsSL https://example.org/install.sh | sh
curl -X POST -H 'Content-Type: application/json' -d '{"a": 1}' http://localhost:8080/items
wget -q https://example.org/data.csv -O data.csv
ssh web1 uptime
scp build.tar.gz web1:/srv/
rsync -av --delete dist/ web1:/srv/www/
systemctl status nginx
systemctl restart nginx
journalctl -u nginx --since '1 hour ago' --no-pager
dmesg | tail -n 50
crontab -l
sudo apt-get install -y jq
apt list --installed
dpkg -l
mkdir -p build/cache
touch src/__init__.py
cp -r templates/base new-project
mv old_name.py new_name.py
rm -f build/*.o
rm -rf node_modules dist
rmdir empty
ln -s ../shared/config.yaml config.yaml
chmod +x scripts/deploy.sh
chown -R app:app /srv/app
tar -czf backup.tar.gz src docs
tar -xzf backup.tar.gz -C /tmp/restore
unzip -o archive.zip -d out
zip -r out.zip dist
gzip -k big.log
echo done
echo "$HOME/$USER"
echo hello > greeting.txt
echo "export PATH=$PATH:/opt/bin" >> ~/.bashrc
printf '%s\n' one two three
date +%Y-%m-%d
sleep 2
true && echo yes || echo no
cd src && ls
cd /srv/app && git pull && systemctl restart app
test -f config.yaml && cat config.yaml
[ -d .git ] && git status
for f in *.py; do wc -l "$f"; done
for i in 1 2 3; do echo "round $i"; sleep 1; done
while read -r line; do echo "$line"; done < names.txt
if grep -q error log.txt; then echo bad; else echo good; fi
ls | grep -v test | xargs -n 1 basename
find . -name '*.tmp' -print0 | xargs -0 rm -f
ps aux | grep node | grep -v grep | awk '{print $2}' | xargs kill
cat a.txt b.txt | sort | uniq > all.txt
export NODE_ENV=production && npm start
DEBUG=1 python app.py --port 8080
(cd frontend && npm run build) && cp -r frontend/dist public
echo $(git rev-parse HEAD) > version.txt
kill -9 $(lsof -ti :3000)
npm run build 2>&1 | tee build.log
command -v docker > /dev/null 2>&1
timeout 30 ./integration-test.sh
nohup python worker.py > worker.log 2>&1 &
bash -c 'for f in *.sql; do psql -f "$f"; done'
psql -c 'select count(*) from users'
mysql -e 'show tables' app
sqlite3 app.db '.schema'
redis-cli info memory
openssl x509 -in cert.pem -noout -dates
base64 -d token.txt
xxd image.png | head
strings -n 8 core | grep -i key
time make -s all
diff <(sort a.txt) <(sort b.txt)
cat <<< "one line" | tr a-z A-Z
""".strip().splitlines()


def _filled(unit: str) -> str:
    return (unit * (HOSTILE_BYTES // len(unit) + 1))[:HOSTILE_BYTES]


def _around(start: str, unit: str, end: str = "") -> str:
    return start + _filled(unit)[: HOSTILE_BYTES - len(start) - len(end)] + end


_REPEATED = {
    "opened parentheses": "(",
    "opened substitutions": "$(",
    "opened backquotes": "`",
    "opened parameters": "${a:-",
    "opened arithmetic": "$((",
    "opened braces": "{a,",
    "opened quotes": "\"'",
    "opened here-documents": "<<a ",
    "opened tests": "[[ ( ",
    "opened cases": "case a in a) ",
    "opened loops": "for a in 1 2 3 4;do ",
    "backslashes": "\\",
    "line continuations": "\\\n",
    "many commands": "a;",
    "many pipes": "a|",
    "many operators": "a&&b||",
    "many words": "rm a ",
    "many assignments": "a=b ",
    "many redirects": "a>b ",
    "many patterns": "a*b?[c] ",
    "many tildes": "~:~/",
    "many comments": "a #\n",
    "many wrappers": "sudo env ",
    "many finds": "find . -exec ",
    "many whole finds": "find . -name a -exec rm {} \\;;",
    "many brace expansions": "{a,b}{c,d}",
    "many brace words": "{a,b}{c,d}{e,f} ",
    "many ranges": "x{1..100} ",
    "many substitutions": "$(a)",
    "many process substitutions": "cat <(a) ",
    "many loops": "for a in b; do c; done; ",
    "many conditions": "if a;then b;fi;",
    "many cases": "case a in a|b) c;; esac;",
    "many tests": "[ -f a ]&&",
    "many functions": "f(){ f|f& };f;",
    "many deletes": "rm -rf *; ",
    "many folders": "cd a;ls;",
    "many constants": "a=b;c=$a;",
    "many numbers": "a=$((1+1));",
    "many dates": "rm $(date +%F);",
    "many inline codes": "python3 -c 'import os';",
    "many git commands": "git log *;",
    "many links": "ln -s /a b;cat b/c;",
    "many files written and run": "echo a>b;sh b;",
    "many unknown programs": "x 'rm a';",
    "many decoded texts": "echo YQ==|base64 -d|sh;",
    "many here-documents": "cat <<E\n$(a)\nE\n",
    "many here-strings": "cat <<< a;",
    "many parameters": "${a//b/c} ",
    "many strings": '"$a$b" ',
    "many declarations": "export A=b;",
    "many arrays": "a=(b c);",
    "many fetches": "curl http://a;",
    "many lists": "ls|xargs rm;",
    "many unknown paths": "rm $a/b/$c;",
    "many subshells in pipes": "(a)|",
    "many homes": "~/a ",
    "closed parentheses": ")",
    "opened quoted substitutions": '"$(',
    "many short loops": "for i in a;do a;done;",
    "many array elements": "a=([0]=b);",
    "many aliases": "alias a='$(b)';",
    "many evaluations": 'eval "$(a)";',
    "many comparisons": "[ $a -gt 1 ];",
    "many coprocesses": "x=1;coproc a;",
    "one long word": "a",
    "letters of other scripts": "é ",
    "nested shells": "sh -c 'sh -c ",
    "bytes that are no text": "\udcff",
    "zero bytes": "a\0",
}
HOSTILE = {
    **{name: _filled(unit) for name, unit in _REPEATED.items()},
    "many paths to delete": _around("rm -rf ", "../*/a* "),
    "many unknown words to delete": _around("rm ", "$a/b/$c "),
    "many names to find": _around("find . ", "-name '*a' "),
    "many texts for an unknown program": _around("x ", "'rm -rf a' "),
    "one long quoted word": _around("'", "a b", "'"),
    "one long path": _around("cat ", "/a"),
    "one long climb": _around("cat ", "../"),
    "one long pattern": _around("rm ", "?*[a-z]*"),
    "one long pattern of names": _around("cat ", "*/*/*/"),
    "opened brackets": _around("rm ", "["),
    "one long awk program": _around("awk '", '{print $1|"sh"}', "'"),
    "one long sed program": _around("sed '", "s/a/b/e;", "'"),
    "one long inline code": _around("python3 -c '", '"rm a";system();', "'"),
    "one long echo": _around("echo -e '", "\\x41", "'|sh"),
    "one long cluster": _around("tar -", "xvzf"),
    "many options": _around("tar ", "--exclude=a "),
    "many abbreviations": _around("ls ", "--a "),
    "many addresses": _around("curl ", "http://0x7f.1/ "),
    "one long array": _around("a=(", "$(b) ", ");rm ${a[@]}"),
    "words with a meaning of their own": _around("make ", "ab$c "),
    "links to themselves": _around("", "ln -s a a;", "rm a/b"),
    "text without a tree": _around("eval x;", "rm -rf /a/*b "),
    "pipes without a tree": _around("eval x;", "a|b;"),
    "quotes without a tree": _around("eval x;", "'a b' \"c $(d)\" "),
    "functions without a tree": _around("eval x;", "f(){ f|f& };f;"),
}
