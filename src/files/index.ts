export { createFiles, type Files, type FilesOptions, type InboxEntry } from './files.ts'
export type { SendOptions, SendProgress, SendResult } from './send.ts'
