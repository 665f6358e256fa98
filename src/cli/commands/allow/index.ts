import type { CommandSpec } from '../../spec.ts'
import { PRINCIPAL, RULE_OPTIONS } from '../policy/words.ts'

export const spec: CommandSpec = {
  name: 'allow',
  summary: 'Allow a peer an action on this node',
  about:
    'The rule goes before the first one that denies all of it, so it takes effect at once; narrower denials stay. Someone at a door without a link is named by its key or by what it has: ssh:SHA256:..., key:NAME, scope:NAME, ssh-user:NAME.',
  arguments: [
    { name: '<peer>', about: PRINCIPAL },
    { name: '<action>', about: 'forward, file, call, offer, open, ping, link, publish, subscribe or mailbox' },
    { name: '[target]', about: 'what it acts on: HOST:PORT for forward, a protocol for open, a topic for publish and subscribe' },
  ],
  options: RULE_OPTIONS,
  examples: ['kith allow laptop forward localhost:5432', 'kith allow scope:reports call reports/* --via http --between 08:00-18:00'],
  json: '{rules: [{effect, principal, name, action, target, via, between, until}]}, the whole list in order',
  load: () => import('./handler.ts'),
}
