import { resolve } from 'node:path'
import { KithError } from '../../../core/errors.ts'
import type { CommandContext } from '../../context.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless } from '../../style.ts'
import { parsePeerPlace, parsePeerTarget } from './target.ts'

export const run: CommandHandler = async (context, input) => {
  const { options, args } = input
  const to = options.text('to')
  const ssh = sshOptions(context, input)
  if (options.flag('remote') && ssh !== undefined)
    throw new KithError('USAGE', 'An SSH server does not listen for this node; --remote is for peers.', { next: 'kith forward --help' })
  if (options.flag('remote')) return await remote(context, input, to)
  if (to !== undefined)
    throw new KithError('USAGE', '--to belongs to --remote: where what the peer accepts ends on this side.', { next: 'kith forward --help' })
  const { daemon, output, command } = context
  const { peer, target } = ssh === undefined ? parsePeerTarget(args[0] ?? '') : ssh
  const local = options.text('local')
  const save = options.text('save')
  const tunnel = await (await daemon()).call('POST /v1/forwards', {
    peer,
    target,
    allow_public_bind: options.flag('allow-public-bind'),
    ...(local === undefined ? {} : { local }),
    ...(save === undefined ? {} : { save }),
    ...ssh?.trust,
  })
  output.result(tunnel, (palette) => `${palette.strong(tunnel.local)}  ->  ${harmless(tunnel.name ?? tunnel.peer)} ${tunnel.target}`, tunnel.local)
  const port = target.slice(target.lastIndexOf(':'))
  if (local === undefined && !target.startsWith('unix:') && !tunnel.local.endsWith(port))
    output.note(`Port ${port.slice(1)} is taken on this machine, so this is another one.`)
  tellEnd(context, tunnel.id, save)
  output.note(`What runs through it: ${command('kith tunnels')}`)
  return undefined
}

interface SshServer {
  readonly peer: string
  readonly target: string
  readonly trust: { readonly known_hosts?: string; readonly host_key?: string; readonly key_file?: string }
}

/** Undefined where the far side is a peer. */
function sshOptions({ cwd }: CommandContext, { args, options }: Parameters<CommandHandler>[1]): SshServer | undefined {
  const [peer = '', target] = args
  const [known, hostKey, keyFile] = [options.text('known-hosts'), options.text('host-key'), options.text('key-file')]
  if (!peer.startsWith('ssh://')) {
    if (target !== undefined) throw new KithError('USAGE', `A peer and its target are one word, as ${peer}:${target}.`, { next: 'kith forward --help' })
    if (known === undefined && hostKey === undefined && keyFile === undefined) return undefined
    throw new KithError('USAGE', '--known-hosts, --host-key and --key-file are for servers written ssh://USER@HOST.', { next: 'kith forward --help' })
  }
  if (target === undefined)
    throw new KithError('USAGE', 'Behind an SSH server stands where to go from it, as in kith forward ssh://alice@bastion localhost:8080.', {
      next: 'kith forward --help',
    })
  const trust = {
    ...(known === undefined ? {} : { known_hosts: resolve(cwd, known) }),
    ...(hostKey === undefined ? {} : { host_key: hostKey }),
    ...(keyFile === undefined ? {} : { key_file: resolve(cwd, keyFile) }),
  }
  return { peer, target, trust }
}

async function remote(context: CommandContext, { args, options }: Parameters<CommandHandler>[1], to: string | undefined): Promise<undefined> {
  const { daemon, output } = context
  if (to === undefined) throw new KithError('USAGE', '--remote needs --to: where what the peer accepts ends on this side.', { next: 'kith forward --help' })
  for (const name of ['local', 'allow-public-bind'] as const)
    if (name === 'local' ? options.text(name) !== undefined : options.flag(name))
      throw new KithError('USAGE', `--${name} is about listening on this machine; with --remote the peer listens.`, { next: 'kith forward --help' })
  const { peer, place } = parsePeerPlace(args[0] ?? '')
  const save = options.text('save')
  const tunnel = await (await daemon()).call('POST /v1/forwards/remote', { peer, remote: place, to, ...(save === undefined ? {} : { save }) })
  const who = harmless(tunnel.name ?? tunnel.peer)
  output.result(tunnel, (palette) => `${who} ${palette.strong(tunnel.local)}  ->  here ${tunnel.target}`, tunnel.local)
  output.note(
    /^(127\.|\[::1\]|unix:)/.test(tunnel.local)
      ? `Programs on ${who} reach it there at ${tunnel.local}; other machines do not.`
      : `Whoever reaches ${tunnel.local} of ${who} reaches ${tunnel.target} here.`,
  )
  tellEnd(context, tunnel.id, save)
  return undefined
}

function tellEnd({ output, command }: CommandContext, id: string, save: string | undefined): void {
  if (save === undefined) output.note(`To end it: ${command(`kith tunnels close ${id}`)}`)
  else output.note(`It opens by itself when the node starts. To end that: ${command(`kith tunnels close ${id} --forget`)}`)
}
