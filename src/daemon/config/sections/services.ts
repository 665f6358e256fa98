import { z } from 'zod'
import { MAILBOX_LIMITS } from '../../../mesh/mailbox/quotas.ts'
import { type Section, setting } from '../setting.ts'
import { whole } from '../values.ts'

/** A share of one, as trust is written everywhere. */
const fraction: z.ZodType<number> = z.number('expected a number from 0 to 1').min(0, 'expected a number from 0 to 1').max(1, 'expected a number from 0 to 1')

/** What the services on links may take. */
export interface ServiceSettings {
  readonly 'files.quota_bytes': number
  readonly 'trust.min_threshold': number
  readonly 'gossip.max_topics': number
  readonly 'mail.inbox_messages': number
  readonly 'mail.inbox_bytes': number
  readonly 'mail.kept_messages': number
  readonly 'mail.kept_bytes': number
}

export const SERVICES: Section<ServiceSettings> = {
  'files.quota_bytes': setting({
    schema: whole(0, 2 ** 50),
    fallback: 10 * 2 ** 30,
    dynamic: true,
    about: 'What received files, finished and unfinished, may take together; 0 accepts none.',
  }),
  'trust.min_threshold': setting({
    schema: fraction,
    fallback: 0,
    dynamic: true,
    about: 'Least standing, 0 to 1, of a peer that may link; 0 admits strangers, 0.1 only known peers.',
  }),
  'gossip.max_topics': setting({
    schema: whole(8, 100_000),
    fallback: 1_000,
    dynamic: false,
    about: 'Topics that may be made on this node.',
  }),
  'mail.inbox_messages': setting({
    schema: whole(0, 1_000_000),
    fallback: MAILBOX_LIMITS.inboxTotal.messages,
    dynamic: false,
    about: 'Messages that the inbox holds; beyond that senders keep theirs and try again.',
  }),
  'mail.inbox_bytes': setting({
    schema: whole(0, 2 ** 40),
    fallback: MAILBOX_LIMITS.inboxTotal.bytes,
    dynamic: false,
    about: 'What the messages of the inbox may take together.',
  }),
  'mail.kept_messages': setting({
    schema: whole(0, 1_000_000),
    fallback: MAILBOX_LIMITS.total.messages,
    dynamic: false,
    about: 'Sealed messages kept here for peers that this node agreed to host.',
  }),
  'mail.kept_bytes': setting({
    schema: whole(0, 2 ** 40),
    fallback: MAILBOX_LIMITS.total.bytes,
    dynamic: false,
    about: 'What those may take together.',
  }),
}
