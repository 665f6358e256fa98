import { resolve } from 'node:path'
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js'
import { KithError } from '../../../core/errors.ts'
import { silentLogger } from '../../../core/observe/log.ts'
import type { Secret } from '../../../core/secret.ts'
import { readSecretFile } from '../../../daemon/credentials/secret-file.ts'
import { version } from '../../../daemon/version.ts'
import { createToolServer } from '../../../gateway/mcp/tools.ts'
import type { CommandHandler } from '../../spec.ts'
import { controlCallee } from './callee.ts'

const PATTERN = /^[A-Za-z][A-Za-z0-9_.-]{0,63}\/([A-Za-z][A-Za-z0-9_.-]{0,63}|\*)$/

export const run: CommandHandler = async (context, { options }) => {
  const { signal } = context
  const patterns = options.list('tools')
  const file = options.text('key-file')
  for (const pattern of patterns) {
    if (!PATTERN.test(pattern)) throw new KithError('USAGE', `'${pattern}' is neither service/op nor service/*.`, { next: 'kith mcp --help' })
  }
  if (file === undefined && patterns.length === 0) {
    throw new KithError('USAGE', 'Without a key a model would call everything as you: give it a key, or name what it may call.', { next: 'kith mcp --help' })
  }
  const client = await context.daemon()
  const secret: Secret | undefined = file === undefined ? undefined : await readSecretFile(resolve(context.cwd, file))
  try {
    const key = secret?.use((bytes) => bytes.toString('utf8').trim())
    const { callee, asked } = controlCallee(client, key)
    // Whether the key is one is said now, not to the model later.
    await callee.list(asked.caller)
    const server = createToolServer({
      callee,
      logger: silentLogger,
      title: 'kith',
      version: version(),
      askedBy: () => asked,
      ...(patterns.length === 0 ? {} : { offered: (name) => patterns.some((pattern) => matches(pattern, name)) }),
    })
    const ended = new Promise<void>((done) => {
      server.onclose = done
      process.stdin.once('end', () => void server.close())
      signal.addEventListener('abort', () => void server.close(), { once: true })
    })
    await server.connect(new StdioServerTransport())
    await ended
  } finally {
    secret?.wipe()
  }
  return undefined
}

function matches(pattern: string, name: string): boolean {
  return pattern.endsWith('/*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern
}
