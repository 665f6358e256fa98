import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'send',
  summary: 'Send a file to a peer’s inbox',
  about:
    'Every MiB is verified on arrival, the file gets its name when all of it is there, and nothing is overwritten: a taken name becomes "name (1)". A transfer that was interrupted, by whatever, goes on with --resume; without it the file is sent from the start. A file that other linked peers had from this node before is fetched from all of them at once. The peer must allow it; a refusal says what its owner would have to run.',
  arguments: [
    { name: '<peer>', about: 'DID, a prefix of it, or name' },
    { name: '<file>', about: 'a regular file that this node can read' },
  ],
  options: [{ flags: '--resume', about: 'go on where an interrupted transfer of the same file stopped', kind: 'flag' }],
  examples: ['kith send laptop photo.jpg', 'kith send laptop disk.img --resume'],
  json: '{bytes, sha256, duration_ms, name, resumed, providers}; name is what the file is called over there, resumed how many bytes were there already, providers how many peers gave some of it, this node included',
  timeoutMs: 0,
  load: () => import('./handler.ts'),
}
