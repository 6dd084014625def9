/** scripts/join.sh and compose/compose.yml on three engines, under both Composes. */
import assert from 'node:assert/strict'
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addresses, assertReport, type HostName, Hosts, names, root, until } from './hosts.ts'

const hosts = new Hosts('join')

describe('the compose project, one file on every host', () => {
  let folder = ''

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rollcall-join-'))
    // `docker compose` is the peer, found where the docker command looks for plugins.
    const plugins = join(folder, 'docker', 'cli-plugins')
    mkdirSync(plugins, { recursive: true })
    symlinkSync(hosts.must(['scripts/peer-compose.sh', '2']).trim(), join(plugins, 'docker-compose'))
    hosts.must(['scripts/peer-compose.sh', '1'])
    hosts.hosts('up')
    hosts.images()
  })
  after(() => {
    hosts.hosts('down')
    rmSync(folder, { recursive: true, force: true })
  })

  const composes = [
    { name: 'docker-compose 1.29', command: 'docker-compose', version: '1.29', given: () => 'COMPOSE=docker-compose' },
    {
      name: 'docker compose 2',
      command: 'docker compose',
      version: '2',
      given: () => `DOCKER_CONFIG=${folder}/docker`,
    },
  ]
  for (const { name, command, version, given } of composes) {
    const home = (host: HostName) => join(folder, host)
    const environmentFile = (host: HostName) => join(home(host), 'compose', '.env')
    const arguments_: Record<HostName, string> = {
      host1: '--with app',
      host2: '10.0.77.22 --with app',
      host3: '10.0.77.22 --with client',
    }
    const joinScript = (host: HostName, words = arguments_[host]) =>
      hosts.try(host, `${given()} ${home(host)}/scripts/join.sh ${words}`)
    const compose = (host: HostName, words: string) =>
      hosts.type(host, `cd ${home(host)}/compose && ${given()} ${command} -f compose.yml ${words} 2>&1`)
    const report = async () => {
      const container = compose('host3', 'ps -q distributed_client').split('\n').at(-1)
      await until(60, 'the report of four instances', () => {
        assertReport(hosts.type('host3', `docker logs --tail 40 ${container}`))
        return true
      })
    }
    const threeMembers = async () => {
      for (const host of names) {
        await until(30, `three members as ${host} sees them`, () =>
          names.every((other) => hosts.members(host)[other] === 'alive'),
        )
      }
    }

    describe(`under ${name}`, () => {
      // join.sh takes what it finds: that has to be the one this is about.
      before(() => {
        const found = hosts.type('host1', `${given()} ${command} version --short`)
        assert.ok(found.startsWith(`${version}.`), found)
      })
      beforeEach(() => {
        hosts.removeContainers()
        // Every host has its own copy of the repository, as it would.
        for (const host of names) {
          rmSync(home(host), { recursive: true, force: true })
          for (const file of ['compose/compose.yml', 'scripts/join.sh']) {
            mkdirSync(join(home(host), file, '..'), { recursive: true })
            copyFileSync(join(root, file), join(home(host), file))
          }
        }
      })

      it('join.sh makes three members; run again it changes nothing', async () => {
        const state = () =>
          names.map((host) => ({
            containers: hosts.type(host, "docker ps -a --no-trunc --format '{{.ID}} {{.Names}}' | sort"),
            started: hosts.type(host, "docker inspect --format '{{.State.StartedAt}}' $(docker ps -aq) | sort"),
            environment: readFileSync(environmentFile(host), 'utf8'),
          }))
        for (const host of names) {
          const { code, output } = joinScript(host)
          assert.equal(code, 0, output)
          assert.match(output, new RegExp(`public address ${addresses[host]}`))
          assert.match(output, /scripts\/join\.sh 10\.0\.77\.\d+/, 'says what to type on the next host')
        }
        await threeMembers()
        await report()
        const before = state()
        for (const host of names) {
          const { code, output } = joinScript(host)
          assert.equal(code, 0, output)
        }
        // Without words, too: what .env says stays.
        assert.equal(joinScript('host2', '').code, 0)
        assert.deepEqual(state(), before)
      })

      it('a three-line .env and --profile do the same by hand', async () => {
        const profiles: Record<HostName, string> = { host1: 'app', host2: 'app', host3: 'client' }
        for (const host of names) {
          const lines = [
            `NODE_NAME=${host}`,
            `PUBLIC_IP=${addresses[host]}`,
            `JOIN_IP=${host === 'host1' ? '' : addresses.host1}`,
          ]
          writeFileSync(environmentFile(host), `${lines.join('\n')}\n`)
          compose(host, `--profile ${profiles[host]} up -d`)
        }
        await threeMembers()
        await report()

        // The socket's group has a default, too; where it is another, registrator says what to do, and that helps.
        const gid = hosts.type('host1', 'stat -c %g /var/run/docker.sock')
        const registratorSays = (what: RegExp) =>
          until(20, `registrator says ${what}`, () => what.test(compose('host1', 'logs --no-color registrator')))
        if (gid !== '999') {
          await registratorSays(/EACCES .*DOCKER_GID in \.env/)
          appendFileSync(environmentFile('host1'), `DOCKER_GID=${gid}\n`)
          compose('host1', '--profile app up -d')
        }
        await registratorSays(/watching engine /)
      })

      it('each registrator sees the containers of its own engine only', async () => {
        for (const host of names) assert.equal(joinScript(host, arguments_[host].replace(/--with.*/, '')).code, 0)
        await threeMembers()
        for (const host of names) hosts.type(host, `docker run -d -p 10000:6379 --name redis.${host} rollcall/redis`)
        await until(30, 'one Redis per host', () => hosts.dig('host1', 'redis.service.consul').length === 3)
        const found = hosts.get<{ Node: string; ServiceID: string }[]>('host2', '/v1/catalog/service/redis')
        assert.deepEqual(
          found.map(({ Node, ServiceID }) => `${Node} ${ServiceID}`).sort(),
          names.map((host) => `${host} ${host}:redis.${host}:6379`),
        )
      })
    })
  }

  describe('join.sh says plainly what is wrong', () => {
    const home = () => join(folder, 'mistakes')
    const run = (words: string, before = '') => hosts.try('host1', `${before} ${home()}/scripts/join.sh ${words}`)
    before(() => {
      hosts.removeContainers()
      for (const file of ['compose/compose.yml', 'scripts/join.sh']) {
        mkdirSync(join(home(), file, '..'), { recursive: true })
        copyFileSync(join(root, file), join(home(), file))
      }
    })
    const table: [string, string, string, RegExp][] = [
      ['a name instead of an address', 'host2', '', /expected the IPv4 address of a host to join, received "host2"/],
      ['its own address', '10.0.77.22', '', /10\.0\.77\.22 is this host itself/],
      ['an unknown program', '--with database', '', /--with: expected app or client, received "database"/],
      ['an unknown option', '--join 10.0.77.22', '', /unknown option "--join"/],
      ['an address of another host', '--public-ip 10.0.77.16', '', /10\.0\.77\.16 .* is no address of this host/],
      ['a name that cannot be a node', '--name host_1', '', /"host_1" cannot be a node's name/],
      ['no engine', '', 'DOCKER_HOST=unix:///nowhere.sock', /cannot use the Docker engine at unix:\/\/\/nowhere\.sock/],
      ['no such Compose', '', 'COMPOSE=no-such-compose', /COMPOSE="no-such-compose" does not run/],
    ]
    for (const [title, words, before, message] of table) {
      it(title, () => {
        const { code, output } = run(words, before)
        assert.equal(code, 1, output)
        assert.match(output, message)
        assert.equal(existsSync(join(home(), 'compose', '.env')), false, 'nothing was written')
      })
    }

    it('what .env says stays, its last line without an end, too', () => {
      writeFileSync(join(home(), 'compose', '.env'), 'NODE_NAME=first\nPUBLIC_IP=10.0.77.22\nJOIN_IP=10.0.77.16')
      try {
        run('', 'COMPOSE=true')
        assert.match(
          readFileSync(join(home(), 'compose', '.env'), 'utf8'),
          /^NODE_NAME=first\nPUBLIC_IP=10\.0\.77\.22\nJOIN_IP=10\.0\.77\.16\n/,
        )
      } finally {
        rmSync(join(home(), 'compose', '.env'))
      }
    })

    it('several addresses: it says which it took, and how to choose', () => {
      hosts.type(
        'host1',
        'ip link add second type bridge && ip addr add 192.168.77.1/24 dev second && ip link set second up',
      )
      try {
        const { output } = run('', 'COMPOSE=true')
        assert.match(
          output,
          /public address 10\.0\.77\.22: it is on ens160, where the default route goes\. Also here: 192\.168\.77\.1 on second\. To choose another: --public-ip ADDRESS/,
        )
      } finally {
        hosts.type('host1', 'ip link delete second')
      }
    })
  })
})
