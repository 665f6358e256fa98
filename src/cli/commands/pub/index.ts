import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'pub',
  summary: 'Publish an entry to a topic',
  about:
    'Without DATA, or with -, standard input is the entry, as it is. Every peer that reads the topic gets it, also those that are away now and come back later. Nothing that was published can be taken back.',
  arguments: [
    { name: '<topic>', about: 'as in kith topics' },
    { name: '[data]', about: 'the text, or - for standard input' },
  ],
  examples: ['kith pub news "the mill is open"', 'kith pub news -'],
  json: '{id, topic, author, author_name, device, time, epoch, seq, type, bytes, gap, lost, text, data, readers}; readers = linked peers that read the topic now, data is base64, text null where it is not UTF-8',
  load: () => import('./handler.ts'),
}
