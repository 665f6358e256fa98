import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { privateKeyring } from '../hardware/keyring.ts'
import { MODULE, softHsm } from '../hardware/softhsm.ts'
import { softwareTpm } from '../hardware/swtpm.ts'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const GUIDE = readFileSync(join(ROOT, 'docs', 'guides', 'hardware.md'), 'utf8')

/** Types the blocks of one kind in a shell, in order. */
async function follow(t: TestContext, kind: string, environment: NodeJS.ProcessEnv, homes: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'kith-guide-'))
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1', ...environment }
  t.after(async () => {
    for (const home of homes) {
      if (existsSync(join(folder, home)))
        await run(process.execPath, [join(ROOT, 'bin', 'kith.mjs'), 'down', '--home', join(folder, home)], { env }).catch(() => undefined)
    }
    rmSync(folder, { recursive: true, force: true })
  })
  const blocks = [...GUIDE.matchAll(new RegExp(`^\`\`\`sh ${kind}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, body]) => body as string)
  assert.notEqual(blocks.length, 0)
  const kith = `kith() { ${JSON.stringify(process.execPath)} ${JSON.stringify(join(ROOT, 'bin', 'kith.mjs'))} "$@"; }`
  return await run('bash', ['-c', `set -e\n${kith}\n${blocks.join('\n')}`], { cwd: folder, env, timeout: 250_000 }).catch(
    (error: { stdout: string; stderr: string; message: string }) => {
      throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
    },
  )
}

test('the guide to hardware, its blocks about tokens, typed line by line, work', { timeout: 300_000 }, async (t) => {
  if (MODULE !== undefined && !GUIDE.includes(`--module ${MODULE}`)) return t.skip(`SoftHSM is at ${MODULE} here`)
  const hsm = await softHsm()
  if (typeof hsm === 'string') return t.skip(hsm)
  t.after(() => hsm.close())
  const { stdout, stderr } = await follow(t, 'token', { ...hsm.environment, TOKENS: hsm.tokens }, ['desk', 'laptop'])
  assert.match(stdout, /^its key is made in the token: pkcs11:token=home;serial=\w+;object=kith;id=\S+module-path=\S+$/m)
  assert.match(stdout, /^yes {2}the key cannot leave the token$/m)
  assert.match(stdout, /^key +in a token: pkcs11:token=home/m)
  assert.match(stdout, /^the key that signs {2}pkcs11:token=home;serial=\w+;object=laptop/m)
  assert.match(stderr, /^error\[TOKEN_UNAVAILABLE\]/m)
  assert.match(stdout, /hardware .*the token is not there/)
  assert.match(stdout, /^key +in the key file$/m)
  assert.deepEqual(
    [...stderr.matchAll(/^error\[(\w+)\]/gm)].map(([, code]) => code).filter((code) => code !== 'TOKEN_UNAVAILABLE'),
    [],
  )
})

test('the guide to hardware, its blocks about the TPM, typed line by line, work', { timeout: 300_000 }, async (t) => {
  const tpm = await softwareTpm()
  if (typeof tpm === 'string') return t.skip(tpm)
  t.after(() => tpm.close())
  const { stdout, stderr } = await follow(t, 'tpm', tpm.environment, ['server'])
  assert.match(stdout, /^sealed {2}by the TPM, for PCR 0, 7 as they are now$/m)
  assert.match(stdout, /^keys +passphrase none asked: sealed by the TPM of this machine$/m)
  assert.match(stderr, /^error\[SEAL_BROKEN\] .*PCR 7 changed/m)
  assert.match(stdout, /seal .*PCR 7 changed since the passphrase was sealed/)
})

test('the guide to hardware, its blocks about the keyring, typed line by line, work', { timeout: 300_000 }, async (t) => {
  const keyring = await privateKeyring()
  if (typeof keyring === 'string') return t.skip(keyring)
  t.after(() => keyring.close())
  const { stdout } = await follow(t, 'keyring', keyring.environment, ['desktop'])
  assert.match(stdout, /^sealed {2}in the keyring of your session$/m)
})
