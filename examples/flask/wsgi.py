from links import create_app

application = create_app()
