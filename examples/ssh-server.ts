// An SSH server without an open port: each peer that connects gets the one of this machine. Prints a ticket for ssh-client.ts.
import { connect as dial } from 'node:net'
import { serve } from 'kith'

const port = Number(process.argv[2] ?? 22)
const server = await serve({ listen: ['tcp://127.0.0.1:0'], protocol: 'example/ssh/1' }, (stream) => {
  const sshd = dial(port, '127.0.0.1').on('error', () => stream.destroy())
  stream.on('error', () => sshd.destroy())
  stream.pipe(sshd).pipe(stream)
})
console.log(await server.invite())
