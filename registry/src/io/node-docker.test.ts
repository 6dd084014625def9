import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { probe } from './node-probe.ts'
import { Programs } from './node-program.ts'

/** Stands in for the engine: its API at a socket of its own. */
describe('a Docker check', () => {
  const folder = mkdtempSync(join(tmpdir(), 'engine-'))
  const before_ = process.env.DOCKER_HOST
  const seen: string[] = []
  let code = 0
  let server: Server
  before(async () => {
    server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk) => {
        body += chunk
      })
      request.on('end', () => {
        seen.push(`${request.method} ${request.url} ${body}`)
        const at = `${request.method} ${request.url}`
        if (at === 'POST /containers/web/exec') response.writeHead(201).end('{"Id":"e1"}')
        else if (at === 'POST /exec/e1/start') response.end('as it should be')
        else if (at === 'GET /exec/e1/json') response.end(JSON.stringify({ ExitCode: code }))
        else if (at === 'POST /containers/still/exec') response.writeHead(409).end('it is paused')
        else if (at !== 'POST /containers/slow/exec') response.writeHead(404).end('No such container')
      })
    })
    await new Promise<void>((resolve) => server.listen(`${folder}/docker.sock`, resolve))
    process.env.DOCKER_HOST = `unix://${folder}/docker.sock`
  })
  after(async () => {
    if (before_ === undefined) delete process.env.DOCKER_HOST
    else process.env.DOCKER_HOST = before_
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    rmSync(folder, { recursive: true })
  })

  const ask = (container: string, timeout = 10_000) =>
    probe({ kind: 'docker', container, args: ['/bin/check', 'a b'], timeout, outputMax: 4096 }, new Programs())

  it('runs the words in the container and takes the exit code as a script check does', async () => {
    for (const [exit, status] of [
      [0, 'passing'],
      [1, 'warning'],
      [127, 'critical'],
    ] as const) {
      code = exit
      assert.deepEqual(await ask('web'), { status, output: 'as it should be' })
    }
    assert.match(seen[0] ?? '', /"Cmd":\["\/bin\/check","a b"\]/)
  })

  it('is critical in words about a container that is not there or stands still, and an engine that is silent or absent', async () => {
    const said = async (container: string, timeout?: number) => {
      const { status, output } = await ask(container, timeout)
      assert.equal(status, 'critical')
      return output
    }
    assert.equal(await said('x'), 'create exec failed for unknown container x: No such container')
    assert.equal(await said('still'), 'create exec failed since container still is paused or stopped: it is paused')
    assert.equal(await said('slow', 200), 'Timed out (0.2s) running check')
    process.env.DOCKER_HOST = `unix://${folder}/none.sock`
    assert.match(await said('web'), /^exec failed for container web: .*ENOENT/)
    process.env.DOCKER_HOST = 'ssh://elsewhere'
    assert.match(await said('web'), /DOCKER_HOST: expected unix:\/\/\/path or tcp:\/\/host:port, received "ssh:/)
  })
})
