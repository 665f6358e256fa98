import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { reachable } from '../support/ports.ts'

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
  await reachable(server, child)
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
