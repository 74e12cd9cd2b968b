# A host of paas.py. $1 is the public key of whoever pushes.
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get install -q -y --no-install-recommends nginx-light uwsgi-core uwsgi-plugin-python3 python3-venv python3-pip git >/dev/null
useradd --create-home --shell /bin/sh paas
chmod 0755 /home/paas
install -d -o paas -g paas /home/paas/apps /home/paas/repos /home/paas/venvs /home/paas/enabled /home/paas/nginx
install -d -o paas -g paas -m 0700 /home/paas/.ssh
printf 'command="/usr/local/lib/paas.py serve" %s\n' "$1" >/home/paas/.ssh/authorized_keys
chown paas:paas /home/paas/.ssh/authorized_keys
chmod 0755 /usr/local/lib/paas.py
cat >/etc/systemd/system/paas.service <<'UNIT'
[Service]
User=paas
Type=notify
NotifyAccess=all
KillSignal=SIGQUIT
ExecStart=/usr/bin/uwsgi --emperor /home/paas/enabled
UNIT
cat >/etc/systemd/system/paas-nginx.service <<'UNIT'
[Service]
Type=oneshot
ExecStart=/usr/bin/systemctl reload nginx
UNIT
cat >/etc/systemd/system/paas-nginx.path <<'UNIT'
[Path]
PathChanged=/home/paas/nginx
UNIT
rm -f /etc/nginx/sites-enabled/default
echo 'include /home/paas/nginx/*.conf;' >/etc/nginx/conf.d/paas.conf
systemctl daemon-reload
systemctl restart nginx
systemctl start paas.service paas-nginx.path
