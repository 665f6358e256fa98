import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

export function installed(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => existsSync(join(directory, program)))
}

export interface SoftwareTpm {
  readonly environment: { readonly TPM2TOOLS_TCTI: string; readonly PATH: string }
  /** What a changed firmware or kernel does. */
  extend(pcr: number): void
  close(): Promise<void>
}

/** A TPM in a process of its own, new each time. A text says why it cannot be had. */
export async function softwareTpm(): Promise<SoftwareTpm | string> {
  for (const program of ['swtpm', 'swtpm_setup', 'tpm2_unseal']) if (!installed(program)) return `${program} is not installed (swtpm, swtpm-tools, tpm2-tools)`
  const directory = mkdtempSync(join(tmpdir(), 'kith-swtpm-'))
  const state = join(directory, 'state')
  mkdirSync(state)
  execFileSync('swtpm_setup', ['--tpm2', '--tpmstate', state, '--overwrite'], { stdio: 'pipe' })
  const server = join(directory, 'server')
  const args = ['socket', '--tpm2', '--tpmstate', `dir=${state}`, '--server', `type=unixio,path=${server}`, '--ctrl', `type=unixio,path=${server}.ctrl`]
  const child = spawn('swtpm', [...args, '--flags', 'not-need-init,startup-clear'], { stdio: 'ignore' })
  await listening(server, child)
  const environment = { TPM2TOOLS_TCTI: `swtpm:path=${server}`, PATH: process.env.PATH ?? '' }
  return {
    environment,
    extend(pcr) {
      execFileSync('tpm2_pcrextend', [`${pcr}:sha256=${'ab'.repeat(32)}`], { env: environment, stdio: 'pipe' })
    },
    async close() {
      if (child.exitCode === null && child.kill()) await once(child, 'exit')
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Waits for the socket by trying it, until the program has ended. */
async function listening(path: string, child: ChildProcess): Promise<void> {
  while (child.exitCode === null) {
    const socket = connect(path)
    try {
      await once(socket, 'connect')
      socket.destroy()
      return
    } catch {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  throw new Error('swtpm has ended')
}
