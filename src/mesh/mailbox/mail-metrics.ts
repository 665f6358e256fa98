import { type Metrics, silentMetrics } from '../../core/observe/metrics.ts'

export interface MailMetrics {
  /** `result`: `inbox`, `mailbox`, or the code it was refused with. */
  readonly put: (result: string) => void
  /** `result`: `new`, `known`, or the code that kept it out. */
  readonly received: (result: string) => void
  /** `result`: `delivered`, `deposited`, `expired`, or the code of an attempt that failed. */
  readonly sent: (result: string) => void
  readonly pending: (messages: number) => void
  readonly kept: (usage: { readonly messages: number; readonly bytes: number }) => void
  readonly inbox: (usage: { readonly messages: number; readonly unread: number }) => void
  readonly prekeyMade: () => void
}

/** What a person on call looks at: whether messages arrive, wait, or fill the mailbox. */
export function mailMetrics(metrics: Metrics = silentMetrics): MailMetrics {
  const put = metrics.counter('kith_mailbox_put_total', 'Sealed messages that peers left here, by where they were kept or why not.', ['result'])
  const received = metrics.counter('kith_mail_received_total', 'Sealed messages for this node that were opened here, by outcome.', ['result'])
  const sent = metrics.counter('kith_mail_sent_total', 'Attempts to bring a message to its peer or a host, by outcome.', ['result'])
  const pending = metrics.gauge('kith_mail_pending', 'Own messages that have not arrived at every machine of their peer.')
  const keptMessages = metrics.gauge('kith_mailbox_messages', 'Sealed messages kept here for others.')
  const keptBytes = metrics.gauge('kith_mailbox_bytes', 'Bytes of sealed messages kept here for others.')
  const inbox = metrics.gauge('kith_mail_inbox_messages', 'Messages in the inbox.')
  const unread = metrics.gauge('kith_mail_unread', 'Messages in the inbox that were not read.')
  const prekeys = metrics.counter('kith_prekeys_made_total', 'Prekeys made by this machine; one a week.')
  return {
    put: (result) => put.add(1, { result }),
    received: (result) => received.add(1, { result }),
    sent: (result) => sent.add(1, { result }),
    pending: (messages) => pending.set(messages),
    kept: (usage) => {
      keptMessages.set(usage.messages)
      keptBytes.set(usage.bytes)
    },
    inbox: (usage) => {
      inbox.set(usage.messages)
      unread.set(usage.unread)
    },
    prekeyMade: () => prekeys.add(),
  }
}
