import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { installed } from './swtpm.ts'

export interface PrivateKeyring {
  readonly environment: NodeJS.ProcessEnv
  close(): Promise<void>
}

/** GNOME Keyring, unlocked, on a D-Bus session of its own. A text says why it cannot be had. */
export async function privateKeyring(): Promise<PrivateKeyring | string> {
  for (const program of ['dbus-run-session', 'gnome-keyring-daemon', 'secret-tool']) {
    if (!installed(program)) return `${program} is not installed (dbus, gnome-keyring, libsecret-tools)`
  }
  const directory = mkdtempSync(join(tmpdir(), 'kith-keyring-'))
  const [home, run] = ['home', 'run'].map((name) => join(directory, name)) as [string, string]
  for (const path of [home, run]) mkdirSync(path, { mode: 0o700 })
  const environment = { HOME: home, XDG_RUNTIME_DIR: run, XDG_DATA_HOME: join(home, 'data'), PATH: process.env.PATH ?? '' }
  const owned = 'dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner string:org.freedesktop.secrets'
  const script = [
    'echo "BUS $DBUS_SESSION_BUS_ADDRESS"',
    'printf test | gnome-keyring-daemon --unlock --foreground --components=secrets & daemon=$!',
    `until ${owned} | grep -q true; do kill -0 $daemon || exit 1; sleep 0.05; done`,
    'echo READY',
    'wait',
  ].join('\n')
  const child = spawn('dbus-run-session', ['--', 'sh', '-c', script], { env: environment, stdio: ['ignore', 'pipe', 'ignore'], detached: true })
  const close = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      process.kill(-child.pid, 'SIGTERM')
      await once(child, 'exit')
    }
    rmSync(directory, { recursive: true, force: true })
  }
  let bus = ''
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith('BUS ')) bus = line.slice(4)
    if (line === 'READY') return { environment: { ...environment, DBUS_SESSION_BUS_ADDRESS: bus }, close }
  }
  await close()
  return 'no keyring starts on a private bus here'
}
