import type { ChildProcess } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { line } from '../shows/laboratory.ts'

const BUS = (socket: string): string => `<busconfig><type>system</type><listen>unix:path=${socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>`
const CONFIG = `[server]
host-name=laboratory-avahi
use-ipv4=yes
use-ipv6=no
[wide-area]
enable-wide-area=no
[publish]
publish-workstation=no
`
// avahi keeps its pid file in /run, which namespaces of the network share: it gets a /run/avahi-daemon of its own.
const OWN_RUN = 'mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon && exec avahi-daemon "$@" 2>&1'

/** The real avahi with a message bus of its own at `folder/bus`, in the network where `start` runs programs. Resolves when it has started. */
export async function startAvahi(folder: string, start: (command: string, args: readonly string[]) => ChildProcess): Promise<void> {
  await writeFile(join(folder, 'bus.conf'), BUS(join(folder, 'bus')))
  await writeFile(join(folder, 'avahi.conf'), CONFIG)
  await line(start('dbus-daemon', ['--config-file', join(folder, 'bus.conf'), '--nofork', '--print-address=1']), (text) => text.startsWith('unix:'))
  const avahi = start('unshare', ['-m', 'sh', '-c', OWN_RUN, 'sh', '-f', join(folder, 'avahi.conf'), '--no-drop-root', '--no-chroot', '--no-rlimits'])
  await line(avahi, (text) => text.includes('Server startup complete'))
}
